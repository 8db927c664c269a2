-- # Demo customers and orders
--
-- Enough rows to make the reports worth looking at. Customers are inserted
-- *before* the addresses they point at: the foreign key waits for the commit.

INSERT INTO customers (id, email, full_name, locale, default_address_id)
VALUES ('0191b5a0-0000-4000-8000-000000000001', 'Anna@Example.com', 'Анна Кузнецова', 'ru',
        '0191b5a0-0000-4000-9000-000000000001'),
       ('0191b5a0-0000-4000-8000-000000000002', 'hanako@example.jp', '山田 花子', 'ja-JP',
        '0191b5a0-0000-4000-9000-000000000002'),
       ('0191b5a0-0000-4000-8000-000000000003', 'sean.o''brien@example.ie', 'Seán O''Brien', 'en-IE', NULL);

INSERT INTO addresses (id, customer_id, recipient, line1, line2, postal_code, city, country)
VALUES ('0191b5a0-0000-4000-9000-000000000001', '0191b5a0-0000-4000-8000-000000000001',
        'А. Кузнецова', 'Kastanienallee 12', 'c/o Müller; 3. OG', '10435', 'Berlin', 'DE'),
       ('0191b5a0-0000-4000-9000-000000000002', '0191b5a0-0000-4000-8000-000000000002',
        '山田 花子', '千代田1-1', NULL, '100-0001', '東京', 'JP'),
       ('0191b5a0-0000-4000-9000-000000000003', '0191b5a0-0000-4000-8000-000000000003',
        'Seán O''Brien', '7 Eden Quay', NULL, 'D01 X2A3', 'Dublin', 'IE');

-- Each order with its lines, in one statement.
WITH wanted (customer, placed_at, line, sku, quantity) AS (
    VALUES ('Anna@Example.com',        timestamptz '2024-10-02 09:12+00', 1, 'KNF-0001', 1),
           ('Anna@Example.com',        timestamptz '2024-10-02 09:12+00', 2, 'BWL-0001', 2),
           ('hanako@example.jp',       timestamptz '2024-10-02 23:40+00', 1, 'BOK-0001', 1),
           ('sean.o''brien@example.ie', timestamptz '2024-10-05 18:03+00', 1, 'TNT-0002', 1),
           ('sean.o''brien@example.ie', timestamptz '2024-10-05 18:03+00', 2, 'BOK-0002', 3)
), new_orders AS (
    INSERT INTO orders (customer_id, shipping_address_id, placed_at)
    SELECT DISTINCT c.id, a.id, w.placed_at
      FROM wanted AS w
      JOIN customers AS c ON c.email = w.customer
      JOIN addresses AS a ON a.customer_id = c.id
     ORDER BY w.placed_at
    RETURNING id, customer_id
)
INSERT INTO order_items (order_id, line, product_id, name, quantity, unit_price)
SELECT o.id, w.line, p.id, p.name, w.quantity, p.price_gross
  FROM wanted AS w
  JOIN customers AS c ON c.email = w.customer
  JOIN new_orders AS o ON o.customer_id = c.id
  JOIN products AS p ON p.sku = w.sku;

INSERT INTO payments (order_id, method, provider_ref, amount, state, captured_at)
SELECT id, 'card', 'demo-' || number, total, 'captured', placed_at + interval '2 minutes'
  FROM orders;

UPDATE orders SET status = 'paid';

WITH parcel AS (
    INSERT INTO shipments (order_id, warehouse_id, carrier, tracking_number, shipped_at)
    SELECT o.id, w.id, 'DHL', 'DHL' || o.number, o.placed_at + interval '1 day'
      FROM orders AS o
      JOIN warehouses AS w ON w.code = 'BER1'
     WHERE o.placed_at < timestamptz '2024-10-04 00:00+00'
    RETURNING id, order_id
), packed AS (
    INSERT INTO shipment_items (shipment_id, order_id, line, quantity)
    SELECT parcel.id, i.order_id, i.line, i.quantity
      FROM parcel
      JOIN order_items AS i ON i.order_id = parcel.order_id
)
UPDATE orders SET status = 'shipped' FROM parcel WHERE orders.id = parcel.order_id;

INSERT INTO reviews (product_id, customer_id, rating, title, body, published_at)
SELECT p.id, c.id, r.rating, r.title, r.body, now()
  FROM (VALUES ('KNF-0001', 'Anna@Example.com',  5, 'Отличный нож', 'Режет всё; даже помидоры -- "как масло".'),
               ('BOK-0001', 'hanako@example.jp', 4, 'とても良い本', '写真がきれい；レシピも簡単です。')) AS r (sku, email, rating, title, body)
  JOIN products AS p ON p.sku = r.sku
  JOIN customers AS c ON c.email = r.email;

-- A query among the changes: the rows it returns are nobody's business but the reader's.
SELECT number, status, total FROM orders ORDER BY number;
