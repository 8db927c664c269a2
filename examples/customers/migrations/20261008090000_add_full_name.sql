-- Expand: the new column, which the old release does not know. The new release
-- writes both.

ALTER TABLE customers ADD COLUMN full_name text;
