-- # `updated_at` by trigger
--
-- The application can't forget what the database does. Every table with an
-- `updated_at` column gets this trigger.

CREATE FUNCTION touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    -- now() is the start of the transaction; that's what we want: rows changed
    -- together carry the same time.
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;

-- don't; stop: BEFORE, so that the row is written once and not twice.
CREATE TRIGGER customers_touch_updated_at
    BEFORE UPDATE ON customers
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at(); -- it's the only trigger here; so far
