-- # Inventory
--
-- Stock changes only by *movements*, which are never edited. `stock_levels` is
-- what they add up to, kept by a trigger and guarded by a CHECK.

CREATE TABLE warehouses (
    id      smallint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    code    text     NOT NULL UNIQUE,
    name    text     NOT NULL,
    country char(2)  NOT NULL,

    CONSTRAINT warehouses_code_format CHECK (code ~ '^[A-Z]{3}[0-9]$')
);

CREATE TABLE stock_levels (
    warehouse_id smallint NOT NULL REFERENCES warehouses (id),
    product_id   bigint   NOT NULL REFERENCES products (id),
    on_hand      integer  NOT NULL DEFAULT 0,
    reserved     integer  NOT NULL DEFAULT 0,
    available    integer  GENERATED ALWAYS AS (on_hand - reserved) STORED,

    PRIMARY KEY (product_id, warehouse_id),
    CONSTRAINT stock_levels_reserved_in_stock CHECK (reserved BETWEEN 0 AND on_hand)
);

CREATE TABLE stock_movements (
    id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    warehouse_id smallint    NOT NULL REFERENCES warehouses (id),
    product_id   bigint      NOT NULL REFERENCES products (id),
    quantity     integer     NOT NULL,
    reason       text        NOT NULL,
    moved_at     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT stock_movements_quantity_not_zero CHECK (quantity <> 0),
    CONSTRAINT stock_movements_reason CHECK (reason IN ('opening', 'purchase', 'sale', 'return', 'count', 'loss'))
);

CREATE INDEX stock_movements_product_idx ON stock_movements (product_id, warehouse_id, moved_at);

CREATE FUNCTION apply_stock_movement() RETURNS trigger
    LANGUAGE plpgsql
AS $body$
BEGIN
    -- Not one INSERT ... ON CONFLICT DO UPDATE: the CHECK would see the proposed
    -- row, and a sale's negative quantity isn't a stock level.
    INSERT INTO stock_levels (warehouse_id, product_id)
    VALUES (NEW.warehouse_id, NEW.product_id)
    ON CONFLICT DO NOTHING;

    UPDATE stock_levels
       SET on_hand = on_hand + NEW.quantity
     WHERE (product_id, warehouse_id) = (NEW.product_id, NEW.warehouse_id);

    RETURN NULL;
EXCEPTION
    WHEN check_violation THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            MESSAGE = format($msg$product %s: can't move %s; there isn't that much in warehouse %s$msg$,
                             NEW.product_id, NEW.quantity, NEW.warehouse_id),
            HINT = $$Reserved pieces count; release them first.$$;
END;
$body$;

CREATE TRIGGER stock_movements_apply
    AFTER INSERT ON stock_movements
    FOR EACH ROW EXECUTE FUNCTION apply_stock_movement();

CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql
AS $_$
BEGIN
    RAISE EXCEPTION '% is append-only; insert a correction instead', TG_TABLE_NAME;
END
$_$;

CREATE TRIGGER stock_movements_append_only
    BEFORE UPDATE OR DELETE ON stock_movements
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

INSERT INTO warehouses (code, name, country)
VALUES ('BER1', 'Berlin', 'DE'),
       ('LIS1', 'Lisboa', 'PT');

INSERT INTO stock_movements (warehouse_id, product_id, quantity, reason)
SELECT w.id, p.id, 40, 'opening'
  FROM warehouses AS w
 CROSS JOIN products AS p;
