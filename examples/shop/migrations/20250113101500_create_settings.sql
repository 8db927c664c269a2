-- # Settings of the shop
--
-- Few, typed by a CHECK, and changed at run time. (This file begins with a
-- UTF-8 byte order mark, as some editors write it.)

CREATE TABLE settings (
    key        text        PRIMARY KEY,
    value      jsonb       NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT settings_key_format CHECK (key ~ '^[a-z]+(\.[a-z_]+)+$'),
    CONSTRAINT settings_value_scalar CHECK (jsonb_typeof(value) IN ('string', 'number', 'boolean'))
);

INSERT INTO settings (key, value)
VALUES ('shop.currency', '"EUR"'),
       ('shop.free_shipping_from', '49.90'),
       ('mail.footer', '"It''s us; aurora shop -- since 2024"');
