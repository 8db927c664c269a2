-- # ERP article numbers
--
-- The ERP's exporter expects its own naming, dollar signs included. `erp$sku$map`
-- is an ordinary identifier: nothing is quoted by those dollars.

CREATE TABLE erp$sku$map (
    erp$id     bigint PRIMARY KEY,
    sku        text   NOT NULL UNIQUE REFERENCES products (sku) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT erp$id_range CHECK (erp$id BETWEEN 700000 AND 799999)
);

INSERT INTO erp$sku$map (erp$id, sku)
SELECT 700000 + id, sku FROM products;

CREATE VIEW erp$export AS
SELECT m.erp$id AS "ARTICLE$NO", p.name AS "TEXT$1", p.price_net AS "PRICE;NET"
  FROM erp$sku$map AS m
  JOIN products AS p USING (sku);

CREATE FUNCTION erp$id_of(text) RETURNS bigint
    LANGUAGE sql STABLE
    RETURN (SELECT erp$id FROM erp$sku$map WHERE sku = $1);

SELECT erp$id_of('KNF-0001') AS erp$id;
