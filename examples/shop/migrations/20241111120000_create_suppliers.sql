-- atlas:txmode none

-- # Supplier list, from the purchasing department
--
-- This file was written on Windows and keeps its CRLF line ends. The index is
-- built concurrently, so the directive above must be understood all the same.

CREATE TABLE IF NOT EXISTS suppliers (
    id     integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name   text    NOT NULL,
    vat_id text    NOT NULL,
    iban   text,

    CONSTRAINT suppliers_vat_id_key UNIQUE (vat_id),
    CONSTRAINT suppliers_vat_id_format CHECK (vat_id ~ '^[A-Z]{2}[0-9A-Z]{2,12}$')
);

/* Running it twice does no harm;
   the second run finds the rows. */
INSERT INTO suppliers (name, vat_id)
VALUES ('Messer & Söhne', 'DE129273398'),
       ('Cerâmica d''Óbidos', 'PT501964843') -- the accent isn't a typo;
ON CONFLICT (vat_id) DO NOTHING;

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS suppliers_name_key
    ON suppliers (lower(name));
