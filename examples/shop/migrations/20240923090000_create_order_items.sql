-- # Order items
--
-- Name and price are copied: what a customer bought doesn't change when the
-- catalogue does. A trigger keeps `orders.total` equal to the sum of the lines.

CREATE TABLE order_items (
    order_id   uuid          NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    line       smallint      NOT NULL,
    product_id bigint        NOT NULL REFERENCES products (id),
    name       text          NOT NULL,
    quantity   integer       NOT NULL,
    unit_price numeric(12,2) NOT NULL,
    line_total numeric(14,2) GENERATED ALWAYS AS (quantity * unit_price) STORED,

    PRIMARY KEY (order_id, line),
    CONSTRAINT order_items_line_positive CHECK (line > 0),
    CONSTRAINT order_items_quantity_positive CHECK (quantity > 0),
    CONSTRAINT order_items_unit_price_not_negative CHECK (unit_price >= 0)
);

CREATE INDEX order_items_product_id_idx ON order_items (product_id);

CREATE FUNCTION sum_order_items() RETURNS trigger
    LANGUAGE plpgsql
AS $sum$
DECLARE
    changed uuid[];
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN changed := ARRAY[NEW.order_id];
        WHEN 'DELETE' THEN changed := ARRAY[OLD.order_id];
        ELSE changed := ARRAY[OLD.order_id, NEW.order_id]; -- a line may move; both orders change
    END CASE;

    UPDATE orders
       SET total = coalesce((SELECT sum(line_total) FROM order_items WHERE order_id = orders.id), 0)
     WHERE id = ANY (changed);

    RETURN NULL;
END;
$sum$;

CREATE TRIGGER order_items_sum
    AFTER INSERT OR UPDATE OR DELETE ON order_items
    FOR EACH ROW EXECUTE FUNCTION sum_order_items();
