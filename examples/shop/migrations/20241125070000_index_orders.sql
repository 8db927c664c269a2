-- atlas:txmode none

-- # Indexes for the account page
--
-- Built `CONCURRENTLY`, so that the shop goes on selling; that isn't possible in
-- a transaction, hence the directive. A build that fails leaves an invalid index
-- behind, which must be dropped before the next try.

CREATE INDEX CONCURRENTLY orders_status_placed_at_idx
    ON orders (status, placed_at DESC);

-- Orders are looked up by the day they were placed; UTC's day, so the expression is immutable.
CREATE INDEX CONCURRENTLY orders_placed_on_idx
    ON orders (((placed_at AT TIME ZONE 'UTC')::date));

CREATE UNIQUE INDEX CONCURRENTLY payments_one_pending_key
    ON payments (order_id)
    WHERE state = 'pending';

DROP INDEX CONCURRENTLY product_categories_category_id_idx;

CREATE INDEX CONCURRENTLY product_categories_category_idx
    ON product_categories (category_id)
    INCLUDE (product_id, is_primary);
