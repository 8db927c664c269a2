-- A new column that is not null and has a default, the way DSQL takes it: a bare
-- column, then its default, then the rows that are there, then a check that is
-- validated in the background. Each statement is a transaction of its own there.

ALTER TABLE users ADD COLUMN plan text;

ALTER TABLE users ALTER COLUMN plan SET DEFAULT 'free';

UPDATE users SET plan = 'free' WHERE plan IS NULL;

ALTER TABLE users ADD CONSTRAINT users_plan CHECK (plan IS NOT NULL AND plan IN ('free', 'pro')) NOT VALID;

ALTER TABLE users VALIDATE CONSTRAINT users_plan;
