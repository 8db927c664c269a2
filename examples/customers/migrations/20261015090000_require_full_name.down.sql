ALTER TABLE customers DROP CONSTRAINT full_name_given;
