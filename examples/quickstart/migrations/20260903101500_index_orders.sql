-- atlas:txmode none

-- Three indexes. On DSQL they are built side by side, and the migration ends
-- when all are valid.

CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_user ON orders (user_id, placed_at);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS orders_number ON orders (number);

CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_open ON orders (placed_at) WHERE status = 'new';
