-- # Audit log
--
-- Who changed which row, and how. The table is partitioned by month so that old
-- months can be dropped instead of deleted; a default partition catches what the
-- loop below did not foresee.

CREATE SCHEMA audit;

CREATE TABLE audit.log (
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    changed_at timestamptz NOT NULL DEFAULT now(),
    actor      text        NOT NULL,
    relation   text        NOT NULL,
    action     "char"      NOT NULL,
    old_row    jsonb,
    new_row    jsonb,

    PRIMARY KEY (id, changed_at),
    CONSTRAINT log_action CHECK (action IN ('I', 'U', 'D'))
) PARTITION BY RANGE (changed_at);

CREATE TABLE audit.log_default PARTITION OF audit.log DEFAULT;

DO $do$
DECLARE
    month date;
BEGIN
    FOR month IN SELECT generate_series('2024-11-01'::timestamp, '2025-12-01'::timestamp, '1 month')::date LOOP
        EXECUTE format(
            $ddl$CREATE TABLE audit.%I PARTITION OF audit.log FOR VALUES FROM (%L) TO (%L);$ddl$,
            'log_' || to_char(month, 'YYYY_MM'),
            month || ' 00:00+00', -- the months are UTC's, whatever the session's time zone
            (month + interval '1 month')::date || ' 00:00+00'
        );
    END LOOP;
END
$do$;

CREATE INDEX log_relation_idx ON audit.log (relation, changed_at DESC);

CREATE FUNCTION audit.record() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $audit$
BEGIN
    INSERT INTO audit.log (actor, relation, action, old_row, new_row)
    VALUES (
        -- Set by the application (SET LOCAL "app.actor" = '...'); else the role.
        coalesce(nullif(current_setting('app.actor', true), ''), session_user),
        TG_RELID::regclass::text,
        left(TG_OP, 1)::"char",
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
    );
    RETURN NULL;
END;
$audit$;

-- One trigger per table worth watching.
DO $$
DECLARE
    watched regclass;
BEGIN
    FOREACH watched IN ARRAY ARRAY['products', 'orders', 'coupons']::regclass[] LOOP
        EXECUTE format('CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION audit.record();', watched);
    END LOOP;
END;
$$;
