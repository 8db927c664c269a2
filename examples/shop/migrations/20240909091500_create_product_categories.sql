-- # Products in categories
--
-- A product may stand in many categories; one of them is its primary one and
-- makes the breadcrumb.

CREATE TABLE product_categories (
    product_id  bigint  NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    category_id integer NOT NULL REFERENCES categories (id),
    is_primary  boolean NOT NULL DEFAULT false,

    PRIMARY KEY (product_id, category_id)
);

CREATE INDEX product_categories_category_id_idx ON product_categories (category_id);

CREATE UNIQUE INDEX product_categories_one_primary_key ON product_categories (product_id) WHERE is_primary;
