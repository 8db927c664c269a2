-- # Carts
--
-- A guest's cart has no customer. A customer has one open cart at most, which a
-- partial unique index guarantees even when two tabs race.

CREATE TABLE carts (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    customer_id uuid        REFERENCES customers (id) ON DELETE CASCADE,
    state       text        NOT NULL DEFAULT 'open',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT carts_state CHECK (state IN ('open', 'ordered', 'abandoned'))
);

CREATE UNIQUE INDEX carts_one_open_key ON carts (customer_id) WHERE state = 'open' AND customer_id IS NOT NULL;
CREATE INDEX carts_stale_idx ON carts (updated_at) WHERE state = 'open';

CREATE TABLE cart_items (
    cart_id    uuid        NOT NULL REFERENCES carts (id) ON DELETE CASCADE,
    product_id bigint      NOT NULL REFERENCES products (id),
    quantity   integer     NOT NULL DEFAULT 1,
    added_at   timestamptz NOT NULL DEFAULT now(),

    PRIMARY KEY (cart_id, product_id),
    CONSTRAINT cart_items_quantity_range CHECK (quantity BETWEEN 1 AND 99)
);

CREATE TRIGGER carts_touch_updated_at
    BEFORE UPDATE ON carts
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
