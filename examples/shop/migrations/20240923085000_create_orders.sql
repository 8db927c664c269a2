-- # Orders
--
-- `id` is what systems use, `number` is what people read on the telephone.
-- The composite foreign key makes sure that an order is sent to an address of
-- its own customer.

CREATE TYPE order_status AS ENUM ('placed', 'paid', 'shipped', 'delivered', 'cancelled');

CREATE TABLE orders (
    id                  uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    number              bigint        NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY (START WITH 100001),
    customer_id         uuid          NOT NULL REFERENCES customers (id),
    shipping_address_id uuid          NOT NULL,
    status              order_status  NOT NULL DEFAULT 'placed',
    total               numeric(12,2) NOT NULL DEFAULT 0,
    note                text,
    placed_at           timestamptz   NOT NULL DEFAULT now(),
    cancelled_at        timestamptz,
    updated_at          timestamptz   NOT NULL DEFAULT now(),

    CONSTRAINT orders_shipping_address_fkey
        FOREIGN KEY (customer_id, shipping_address_id) REFERENCES addresses (customer_id, id),
    CONSTRAINT orders_total_not_negative CHECK (total >= 0),
    CONSTRAINT orders_cancelled_has_time CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL))
);

CREATE INDEX orders_customer_idx ON orders (customer_id, placed_at DESC);

-- The packing station polls this one; it stays small because most orders are done.
CREATE INDEX orders_to_ship_idx ON orders (placed_at) WHERE status = 'paid';

CREATE TRIGGER orders_touch_updated_at
    BEFORE UPDATE ON orders
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
