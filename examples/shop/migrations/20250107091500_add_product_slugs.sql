-- # Readable product addresses
--
-- Add the column, fill it, then tighten it. On a big table these would be three
-- migrations; seven products fit into one transaction.

ALTER TABLE products ADD COLUMN slug text;

UPDATE products
   SET slug = btrim(regexp_replace(lower(name), '[^a-z0-9]+', '-', 'g'), '-') || '-' || lower(sku)
 WHERE slug IS NULL;

ALTER TABLE products
    ALTER COLUMN slug SET NOT NULL,
    ADD CONSTRAINT products_slug_key UNIQUE (slug),
    ADD CONSTRAINT products_slug_format CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$');

SELECT sku, slug FROM products ORDER BY sku;
