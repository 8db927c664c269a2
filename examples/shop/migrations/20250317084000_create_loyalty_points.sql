-- # Loyalty points
--
-- One point per euro of every order that is under way or delivered. The ledger is
-- append-only; `customers.loyalty_points` is its sum.

ALTER TABLE customers
    ADD COLUMN loyalty_points integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT customers_loyalty_points_not_negative CHECK (loyalty_points >= 0);

CREATE TABLE loyalty_ledger (
    id          bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    customer_id uuid        NOT NULL REFERENCES customers (id),
    order_id    uuid        REFERENCES orders (id),
    points      integer     NOT NULL,
    reason      text        NOT NULL,
    booked_at   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT loyalty_ledger_points_not_zero CHECK (points <> 0),
    -- An order earns once, however often the job runs.
    CONSTRAINT loyalty_ledger_order_reason_key UNIQUE (order_id, reason)
);

CREATE INDEX loyalty_ledger_customer_idx ON loyalty_ledger (customer_id, booked_at);

CREATE FUNCTION book_loyalty_points() RETURNS trigger
    LANGUAGE plpgsql
AS $body$
BEGIN
    UPDATE customers
       SET loyalty_points = loyalty_points + NEW.points
     WHERE id = NEW.customer_id;
    RETURN NULL;
END;
$body$;

CREATE TRIGGER loyalty_ledger_book
    AFTER INSERT ON loyalty_ledger
    FOR EACH ROW EXECUTE FUNCTION book_loyalty_points();

CREATE TRIGGER loyalty_ledger_append_only
    BEFORE UPDATE OR DELETE ON loyalty_ledger
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

INSERT INTO loyalty_ledger (customer_id, order_id, points, reason)
SELECT customer_id, id, floor(total)::integer, 'order'
  FROM orders
 WHERE status IN ('shipped', 'delivered')
   AND total >= 1
RETURNING customer_id, points;
