-- # The first catalogue
--
-- Three shelves and seven products. The texts came from several editors and
-- use every way of quoting that PostgreSQL has.

WITH roots AS (
    INSERT INTO categories (slug, name, "position")
    VALUES ('books', 'Books', 1),
           ('kitchen', 'Kitchen & Table', 2),
           ('outdoor', 'Outdoor', 3)
    RETURNING id, slug
)
INSERT INTO categories (parent_id, slug, name, "position")
SELECT roots.id, child.slug, child.name, child."position"
  FROM (VALUES ('books',   'cookbooks', 'Cookbooks',        1),
               ('books',   'travel',    'Travel guides',    2),
               ('kitchen', 'knives',    'Knives',           1),
               ('kitchen', 'bowls',     'Bowls; all sizes', 2),
               ('outdoor', 'tents',     'Tents',            1)) AS child (root, slug, name, "position")
  JOIN roots ON roots.slug = child.root
RETURNING id, slug;

INSERT INTO products (sku, name, description, price_net, vat_rate, attributes)
VALUES
    -- A doubled quote, and two things that look like SQL and aren't.
    ('KNF-0001', 'Chef''s knife', 'Forged; 20 cm blade -- don''t put it in the dishwasher', 74.00, 0.190,
     '{"blade_cm": 20, "steel": "X50CrMoV15"}'),

    -- Escape strings: the backslash quotes the quote.
    ('BOK-0001', E'The Cook\'s Year', E'It isn\'t new; it\'s tested.\n-- 365 recipes --\n\\o/', 28.04, 0.070,
     '{"pages": 412, "binding": "hard;cover"}'),

    -- Unicode escapes, with the usual and with another escape character.
    ('BWL-0001', U&'Caf\00E9 au lait bowl', U&'Set of 4; glaze !00AB!2009cr!00E8me!2009!00BB' UESCAPE '!', 39.50, 0.190,
     '{"pieces": 4}'),

    -- In a standard string the backslash is only a backslash.
    ('BWL-0002', 'Mixing bowl', 'Packed flat \ stacked', 21.00, 0.190, '{"litres": 3.5}'),

    -- A string may continue on the next line,
    ('TNT-0001', 'Two-person tent', 'Weighs 2.1 kg; '
                                    'stands in 3 minutes', 252.10, 0.190, '{"persons": 2}'),

    -- hold lines of its own,
    ('TNT-0002', 'Family tent', 'Assembly:
-- lay out the poles;
/* keep the pegs dry
it''s done', 420.17, 0.190, '{"persons": 5}'),

    -- or need no escapes at all.
    ('BOK-0002', 'Nordic trails', $text$The author's "slow; steady" routes -- costs less than $20, $$ well spent.$text$, 18.69, 0.070,
     '{"pages": 260}');

INSERT INTO product_categories (product_id, category_id, is_primary)
SELECT p.id, c.id, true
  FROM products AS p
  JOIN categories AS c
    ON c.slug = CASE left(p.sku, 3)
                    WHEN 'BWL' THEN 'bowls'
                    WHEN 'KNF' THEN 'knives'
                    WHEN 'TNT' THEN 'tents'
                    ELSE CASE p.sku WHEN 'BOK-0001' THEN 'cookbooks' ELSE 'travel' END
                END;
