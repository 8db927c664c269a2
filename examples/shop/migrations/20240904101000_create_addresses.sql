-- # Addresses
--
-- A customer has many addresses and at most one default. The two tables point
-- at each other, so the second foreign key is deferred to the commit.

CREATE TABLE addresses (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    customer_id uuid        NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    recipient   text        NOT NULL,
    line1       text        NOT NULL,
    line2       text,
    postal_code text        NOT NULL,
    city        text        NOT NULL,
    country     char(2)     NOT NULL,
    label       text        GENERATED ALWAYS AS (recipient || ', ' || line1 || coalesce('; ' || line2, '')
                                                 || ', ' || postal_code || ' ' || city) STORED,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT addresses_country_iso CHECK (country ~ '^[A-Z]{2}$'),
    -- Target of the composite keys below and in orders.
    CONSTRAINT addresses_customer_id_id_key UNIQUE (customer_id, id)
);

CREATE TRIGGER addresses_touch_updated_at
    BEFORE UPDATE ON addresses
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE customers ADD COLUMN default_address_id uuid;

/*
 * The key has two columns so that nobody's default can be somebody else's
 * address. /* A single-column key was tried; it couldn't say that. */ It is
 * checked at COMMIT: customer and address may be inserted in either order;
 */
ALTER TABLE customers
    ADD CONSTRAINT customers_default_address_fkey
    FOREIGN KEY (id, default_address_id) REFERENCES addresses (customer_id, id)
    DEFERRABLE INITIALLY DEFERRED;
