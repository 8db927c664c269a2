-- # Payments
--
-- One row per attempt; only captured ones count. Nobody may pay more than the
-- order's total. That is checked at commit, because a payment and the items it
-- pays for may be written in either order.

CREATE TABLE payments (
    id           uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id     uuid          NOT NULL REFERENCES orders (id),
    method       text          NOT NULL,
    provider_ref text,
    amount       numeric(12,2) NOT NULL,
    state        text          NOT NULL DEFAULT 'pending',
    created_at   timestamptz   NOT NULL DEFAULT now(),
    captured_at  timestamptz,

    CONSTRAINT payments_method CHECK (method IN ('card', 'transfer', 'wallet')),
    CONSTRAINT payments_state CHECK (state IN ('pending', 'captured', 'failed')),
    CONSTRAINT payments_amount_positive CHECK (amount > 0),
    CONSTRAINT payments_captured_has_time CHECK ((state = 'captured') = (captured_at IS NOT NULL)),
    -- A provider may call back twice; the second call must find the first one's row.
    CONSTRAINT payments_provider_ref_key UNIQUE (method, provider_ref)
);

CREATE INDEX payments_order_id_idx ON payments (order_id);

CREATE FUNCTION check_not_overpaid() RETURNS trigger
    LANGUAGE plpgsql
AS $$
DECLARE
    paid  numeric;
    total numeric;
BEGIN
    SELECT coalesce(sum(p.amount), 0) INTO paid
      FROM payments AS p
     WHERE p.order_id = NEW.order_id AND p.state = 'captured';

    SELECT o.total INTO total FROM orders AS o WHERE o.id = NEW.order_id;

    IF paid > total THEN
        RAISE EXCEPTION 'order %: paid %, but it''s only worth %', NEW.order_id, paid, total
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_not_overpaid';
    END IF;

    RETURN NULL;
END;
$$;

CREATE CONSTRAINT TRIGGER payments_not_overpaid
    AFTER INSERT OR UPDATE ON payments
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state = 'captured')
    EXECUTE FUNCTION check_not_overpaid();
