-- # Returns
--
-- A customer sends lines of an order back, within what was ordered:
-- `order_items.returned` can't exceed `quantity`, and a trigger keeps it.

CREATE TYPE return_reason AS ENUM ('damaged', 'wrong item', 'didn''t fit', 'changed mind; no reason');

CREATE TABLE returns (
    id           uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id     uuid          NOT NULL,
    line         smallint      NOT NULL,
    quantity     integer       NOT NULL,
    reason       return_reason NOT NULL,
    comment      text,
    requested_at timestamptz   NOT NULL DEFAULT now(),
    received_at  timestamptz,

    FOREIGN KEY (order_id, line) REFERENCES order_items (order_id, line),
    CONSTRAINT returns_quantity_positive CHECK (quantity > 0),
    CONSTRAINT returns_received_after_requested CHECK (received_at >= requested_at)
);

CREATE INDEX returns_order_line_idx ON returns (order_id, line);

ALTER TABLE order_items
    ADD COLUMN returned integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT order_items_returned_range CHECK (returned BETWEEN 0 AND quantity);

CREATE FUNCTION count_return() RETURNS trigger
    LANGUAGE plpgsql
AS $count$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE order_items SET returned = returned - OLD.quantity
         WHERE (order_id, line) = (OLD.order_id, OLD.line);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE order_items SET returned = returned + NEW.quantity
         WHERE (order_id, line) = (NEW.order_id, NEW.line);
    END IF;
    RETURN NULL;
END;
$count$;

CREATE TRIGGER returns_count
    AFTER INSERT OR UPDATE OR DELETE ON returns
    FOR EACH ROW EXECUTE FUNCTION count_return();

INSERT INTO returns (order_id, line, quantity, reason, comment)
SELECT o.id, i.line, 1, 'didn''t fit', E'Bowl doesn\'t fit the shelf; keeps falling'
  FROM orders AS o
  JOIN order_items AS i ON i.order_id = o.id
  JOIN products AS p ON p.id = i.product_id
 WHERE o.number = 100001 AND p.sku = 'BWL-0001';
