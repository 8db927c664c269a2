-- Contract, second half, once no release reads the old columns. There is no way
-- back: their values are gone.

ALTER TABLE customers DROP COLUMN first_name, DROP COLUMN last_name;
