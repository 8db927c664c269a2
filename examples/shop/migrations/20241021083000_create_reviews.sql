-- # Reviews
--
-- One per customer and product. A review is hidden, not deleted, and an edit
-- sends it back to moderation.

CREATE TABLE reviews (
    id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    product_id   bigint      NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    customer_id  uuid        NOT NULL REFERENCES customers (id),
    rating       smallint    NOT NULL,
    title        text        NOT NULL,
    body         text        NOT NULL DEFAULT '',
    published_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT reviews_rating_range CHECK (rating BETWEEN 1 AND 5),
    CONSTRAINT reviews_title_length CHECK (char_length(title) BETWEEN 3 AND 120),
    CONSTRAINT reviews_one_per_product_key UNIQUE (product_id, customer_id)
);

CREATE INDEX reviews_customer_id_idx ON reviews (customer_id);
CREATE INDEX reviews_to_moderate_idx ON reviews (created_at) WHERE published_at IS NULL;

CREATE FUNCTION unpublish_edited_review() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    NEW.published_at := NULL;
    RETURN NEW;
END;
$$;

CREATE TRIGGER reviews_unpublish_edited
    BEFORE UPDATE OF title, body, rating ON reviews
    FOR EACH ROW
    WHEN ((OLD.title, OLD.body, OLD.rating) IS DISTINCT FROM (NEW.title, NEW.body, NEW.rating))
    EXECUTE FUNCTION unpublish_edited_review();

CREATE TRIGGER reviews_touch_updated_at
    BEFORE UPDATE ON reviews
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE VIEW product_ratings AS
SELECT product_id, count(*) AS reviews, round(avg(rating), 1) AS rating
  FROM reviews
 WHERE published_at IS NOT NULL
 GROUP BY product_id;
