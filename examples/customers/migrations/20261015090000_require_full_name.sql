-- Contract, first half: new rows must have a full name from now on, and the old
-- ones are checked. Aurora DSQL does that in the background, and aurora waits.

ALTER TABLE customers ADD CONSTRAINT full_name_given CHECK (full_name IS NOT NULL) NOT VALID;

ALTER TABLE customers VALIDATE CONSTRAINT full_name_given;
