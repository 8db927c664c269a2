-- # Wishlists
--
-- Private until the customer shares one; sharing means having a token.

CREATE TABLE wishlists (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    customer_id uuid        NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    name        text        NOT NULL DEFAULT 'My wishes',
    share_token uuid        UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT wishlists_name_not_blank CHECK (btrim(name) <> '')
);

CREATE UNIQUE INDEX wishlists_customer_name_key ON wishlists (customer_id, lower(name));

CREATE TABLE wishlist_items (
    wishlist_id uuid        NOT NULL REFERENCES wishlists (id) ON DELETE CASCADE,
    product_id  bigint      NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    added_at    timestamptz NOT NULL DEFAULT now(),

    PRIMARY KEY (wishlist_id, product_id)
);

CREATE INDEX wishlist_items_product_id_idx ON wishlist_items (product_id);

CREATE TRIGGER wishlists_touch_updated_at
    BEFORE UPDATE ON wishlists
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
