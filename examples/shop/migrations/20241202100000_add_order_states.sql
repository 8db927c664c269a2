-- # Two more order states
--
-- A new enum value can't be used in the transaction that adds it, so this file
-- runs without one. `IF NOT EXISTS` makes it safe to run again.
--
-- atlas:txmode none

ALTER TYPE order_status ADD VALUE IF NOT EXISTS 'packed' BEFORE 'shipped';

ALTER TYPE order_status ADD VALUE IF NOT EXISTS 'refunded' AFTER 'cancelled';

-- Uses the new value: works only because the statement above is committed.
UPDATE orders SET status = 'packed' WHERE status = 'paid';
