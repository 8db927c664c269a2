-- # Daily sales
--
-- What the dashboard shows. Refreshed every night with
-- `REFRESH MATERIALIZED VIEW CONCURRENTLY daily_sales`, which needs the unique index.

CREATE MATERIALIZED VIEW daily_sales AS
SELECT (o.placed_at AT TIME ZONE 'UTC')::date AS day,
       c.id                                   AS category_id,
       c.name                                 AS category,
       count(DISTINCT o.id)                   AS orders,
       sum(i.quantity)                        AS pieces,
       sum(i.line_total)                      AS revenue
  FROM orders AS o
  JOIN order_items AS i ON i.order_id = o.id
  JOIN product_categories AS pc ON pc.product_id = i.product_id AND pc.is_primary
  JOIN categories AS c ON c.id = pc.category_id
 WHERE o.status NOT IN ('cancelled', 'refunded')
 GROUP BY 1, 2, 3
  WITH NO DATA;

CREATE UNIQUE INDEX daily_sales_day_category_key ON daily_sales (day, category_id);

REFRESH MATERIALIZED VIEW daily_sales;

SELECT day, category, revenue FROM daily_sales ORDER BY day, category;
