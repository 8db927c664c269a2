-- What each user has spent.

CREATE VIEW order_totals AS
SELECT u.id AS user_id, u.name, count(o.id) AS orders, coalesce(sum(o.total), 0) AS spent
FROM users u
LEFT JOIN orders o ON o.user_id = u.id AND o.status <> 'new'
GROUP BY u.id, u.name;
