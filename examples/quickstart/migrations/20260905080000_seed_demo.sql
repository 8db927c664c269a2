-- Something to look at.

INSERT INTO users (id, email, name) VALUES
    ('6f0c0f3e-0000-4000-8000-000000000001', 'ada@example.com', 'Ada'),
    ('6f0c0f3e-0000-4000-8000-000000000002', 'bob@example.com', 'Bob; the one with a semicolon');

INSERT INTO orders (user_id, status, total)
SELECT u.id, 'paid', 10.00 * n FROM users u CROSS JOIN generate_series(1, 3) AS n;
