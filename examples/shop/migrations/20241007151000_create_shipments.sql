-- # Shipments
--
-- An order leaves in one or more parcels. `order_id` is repeated in
-- `shipment_items` so that the foreign keys can rule out a parcel with lines of
-- two orders.

CREATE TABLE shipments (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id        uuid        NOT NULL REFERENCES orders (id),
    warehouse_id    smallint    NOT NULL REFERENCES warehouses (id),
    carrier         text        NOT NULL,
    tracking_number text,
    shipped_at      timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz,

    CONSTRAINT shipments_carrier_not_blank CHECK (btrim(carrier) <> ''),
    CONSTRAINT shipments_delivered_after_shipped CHECK (delivered_at >= shipped_at),
    CONSTRAINT shipments_id_order_id_key UNIQUE (id, order_id)
);

CREATE TABLE shipment_items (
    shipment_id uuid     NOT NULL,
    order_id    uuid     NOT NULL,
    line        smallint NOT NULL,
    quantity    integer  NOT NULL,

    PRIMARY KEY (shipment_id, line),
    FOREIGN KEY (shipment_id, order_id) REFERENCES shipments (id, order_id) ON DELETE CASCADE,
    FOREIGN KEY (order_id, line) REFERENCES order_items (order_id, line),
    CONSTRAINT shipment_items_quantity_positive CHECK (quantity > 0)
);

CREATE INDEX shipments_order_id_idx ON shipments (order_id);
CREATE INDEX shipment_items_order_line_idx ON shipment_items (order_id, line);
CREATE INDEX shipments_under_way_idx ON shipments (shipped_at) WHERE delivered_at IS NULL;
