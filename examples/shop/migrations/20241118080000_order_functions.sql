-- # Functions over orders
--
-- Written in standard SQL (`BEGIN ATOMIC` and `RETURN`) rather than as strings:
-- PostgreSQL parses the body now and refuses to drop what it uses.

CREATE FUNCTION order_open_amount(wanted uuid) RETURNS numeric
    LANGUAGE sql STABLE
    RETURN (
        SELECT o.total - coalesce(sum(p.amount) FILTER (WHERE p.state = 'captured'), 0)
          FROM orders AS o
          LEFT JOIN payments AS p ON p.order_id = o.id
         WHERE o.id = wanted
         GROUP BY o.total
    );

CREATE FUNCTION order_summary(wanted_number bigint)
    RETURNS TABLE (number bigint, customer text, pieces bigint, state text)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT o.number,
           c.full_name,
           (SELECT sum(i.quantity) FROM order_items AS i WHERE i.order_id = o.id),
           CASE
               WHEN o.status = 'cancelled' THEN 'cancelled'
               WHEN order_open_amount(o.id) > 0 THEN 'waiting for payment; don''t ship'
               ELSE CASE o.status WHEN 'paid' THEN 'to be packed' ELSE o.status::text END
           END
      FROM orders AS o
      JOIN customers AS c ON c.id = o.customer_id
     WHERE o.number = $1;
END;

CREATE PROCEDURE cancel_order(wanted uuid)
    LANGUAGE sql
BEGIN ATOMIC
    UPDATE orders
       SET status = 'cancelled', cancelled_at = now()
     WHERE id = wanted AND status IN ('placed', 'paid');
    -- Pieces of a cancelled order can't be paid for any more;
    UPDATE payments
       SET state = 'failed'
     WHERE order_id = wanted AND state = 'pending';
END;

SELECT (order_summary(o.number)).* FROM orders AS o ORDER BY o.number;
