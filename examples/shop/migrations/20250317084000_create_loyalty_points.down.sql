-- Points are lost. They can be booked again from the orders, except those that
-- support gave by hand; export these first.

DROP TABLE loyalty_ledger;

DROP FUNCTION book_loyalty_points();

ALTER TABLE customers
    DROP CONSTRAINT customers_loyalty_points_not_negative,
    DROP COLUMN loyalty_points;
