-- # Products
--
-- Prices are kept net; the gross price and the search document are generated
-- columns, so they can't disagree with the row. Currency is always EUR.

CREATE TABLE products (
    id          bigint        PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    sku         text          NOT NULL UNIQUE,
    name        text          NOT NULL,
    description text          NOT NULL DEFAULT '',
    price_net   numeric(12,2) NOT NULL,
    vat_rate    numeric(4,3)  NOT NULL DEFAULT 0.190,
    price_gross numeric(12,2) GENERATED ALWAYS AS (round(price_net * (1 + vat_rate), 2)) STORED,
    attributes  jsonb         NOT NULL DEFAULT '{}',
    -- The 'simple' configuration neither stems nor drops words: product names are not prose.
    search      tsvector      GENERATED ALWAYS AS (
                    setweight(to_tsvector('simple', sku || ' ' || name), 'A')
                    || setweight(to_tsvector('simple', description), 'B')
                ) STORED,
    active      boolean       NOT NULL DEFAULT true,
    created_at  timestamptz   NOT NULL DEFAULT now(),
    updated_at  timestamptz   NOT NULL DEFAULT now(),

    CONSTRAINT products_sku_format CHECK (sku ~ '^[A-Z]{3}-[0-9]{4}$'),
    CONSTRAINT products_name_not_blank CHECK (btrim(name) <> ''),
    CONSTRAINT products_price_net_positive CHECK (price_net > 0),
    CONSTRAINT products_vat_rate_range CHECK (vat_rate BETWEEN 0 AND 0.5),
    CONSTRAINT products_attributes_object CHECK (jsonb_typeof(attributes) = 'object')
);

CREATE INDEX products_search_idx ON products USING gin (search);
CREATE INDEX products_attributes_idx ON products USING gin (attributes jsonb_path_ops);

-- The shop window shows active products by name; the rest is for the back office.
CREATE INDEX products_active_name_idx ON products (lower(name), id) WHERE active;

CREATE TRIGGER products_touch_updated_at
    BEFORE UPDATE ON products
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
