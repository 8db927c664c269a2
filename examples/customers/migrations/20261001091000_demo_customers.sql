-- Ten thousand customers to try things on. A transaction of Aurora DSQL may
-- write 3,000 rows, so they come in four.

INSERT INTO customers (first_name, last_name, email)
SELECT 'Ada' || n, 'Byron', 'ada' || n || '@example.com' FROM generate_series(1, 2500) AS n;

INSERT INTO customers (first_name, last_name, email)
SELECT 'Grace' || n, 'Hopper', 'grace' || n || '@example.com' FROM generate_series(1, 2500) AS n;

INSERT INTO customers (first_name, last_name, email)
SELECT 'Edsger' || n, 'Dijkstra', 'edsger' || n || '@example.com' FROM generate_series(1, 2500) AS n;

INSERT INTO customers (first_name, last_name, email)
SELECT 'Barbara' || n, 'Liskov', 'barbara' || n || '@example.com' FROM generate_series(1, 2500) AS n;
