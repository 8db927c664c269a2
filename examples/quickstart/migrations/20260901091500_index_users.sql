-- atlas:txmode none

-- The way PostgreSQL builds an index without stopping anybody. On Aurora DSQL
-- aurora sends CREATE INDEX ASYNC and waits for the job.

CREATE INDEX CONCURRENTLY IF NOT EXISTS users_created_at ON users (created_at);
