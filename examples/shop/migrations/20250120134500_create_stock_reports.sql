-- atlas:delimiter \n\n\n
-- # Stock reports
--
-- Two empty lines end a statement in this file, so semicolons and single empty
-- lines mean nothing to the splitter.

CREATE FUNCTION stock_of(wanted_sku text) RETURNS TABLE (warehouse text, available integer)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT w.code, l.available
      FROM stock_levels AS l
      JOIN warehouses AS w ON w.id = l.warehouse_id
      JOIN products AS p ON p.id = l.product_id
     WHERE p.sku = wanted_sku

     ORDER BY w.code;
END;


-- Products that will run out first; the buyers look at it every morning.
CREATE VIEW low_stock AS
SELECT p.sku, p.name, sum(l.available) AS available
  FROM products AS p
  JOIN stock_levels AS l ON l.product_id = p.id

 WHERE p.active
 GROUP BY p.sku, p.name
HAVING sum(l.available) < 10;


CREATE FUNCTION reserve_stock(wanted_product bigint, wanted_quantity integer) RETURNS smallint
    LANGUAGE plpgsql
AS $reserve$
DECLARE
    reserved_in smallint;
BEGIN
    UPDATE stock_levels
       SET reserved = reserved + wanted_quantity
     WHERE (product_id, warehouse_id) = (
               SELECT product_id, warehouse_id
                 FROM stock_levels
                WHERE product_id = wanted_product AND available >= wanted_quantity
                ORDER BY available DESC
                LIMIT 1
                  FOR UPDATE)
    RETURNING warehouse_id INTO reserved_in;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'product %: no warehouse has % pieces; don''t promise them', wanted_product, wanted_quantity;
    END IF;

    RETURN reserved_in;
END;
$reserve$;


COMMENT ON FUNCTION reserve_stock(bigint, integer) IS
    'Reserves in the fullest warehouse and returns it;

an empty line in a string is only an empty line';
