-- # Categories
--
-- A tree. `"Category tree"` is the view the back office reads with a
-- spreadsheet, which is why its names look the way they do.

CREATE TABLE categories (
    id        integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    parent_id integer REFERENCES categories (id),
    slug      text    NOT NULL UNIQUE,
    name      text    NOT NULL,
    "position" integer NOT NULL DEFAULT 0,

    CONSTRAINT categories_slug_format CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    CONSTRAINT categories_not_own_parent CHECK (parent_id <> id)
);

-- NULL parents are equal here: two roots can't share a position either.
CREATE UNIQUE INDEX categories_sibling_position_key ON categories (coalesce(parent_id, 0), "position");

CREATE
  /* not MATERIALIZED; the tree is small */
  VIEW "Category tree" (
      "id"
    , "Depth"
    , "Path; from the root"
    , "a ""quoted"" slug"
  ) AS
WITH RECURSIVE tree AS (
    SELECT id, 0 AS depth, name AS path, slug
      FROM categories
     WHERE parent_id IS NULL
    UNION ALL
    SELECT c.id, tree.depth + 1, tree.path || ' > ' || c.name, c.slug
      FROM categories AS c
      JOIN tree ON tree.id = c.parent_id
)SELECT id,depth,path,'"'||slug||'"'FROM tree
;
