-- # Переводы · 翻訳
--
-- Названия и описания товаров на других языках; английский текст остаётся в
-- `products`. 商品名の翻訳は一つの言語につき一行だけです。

CREATE TABLE product_translations (
    product_id  bigint NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    locale      text   NOT NULL,
    name        text   NOT NULL,
    description text   NOT NULL DEFAULT '',

    PRIMARY KEY (product_id, locale),
    CONSTRAINT product_translations_locale_format CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
    CONSTRAINT product_translations_not_english CHECK (locale <> 'en')
);

COMMENT ON TABLE product_translations IS 'Переводы; 翻訳 -- one row per product and language';

INSERT INTO product_translations (product_id, locale, name, description)
SELECT p.id, t.locale, t.name, t.description
  FROM (VALUES
           ('KNF-0001', 'ru', 'Поварской нож', $описание$Кованый; лезвие 20 см -- не мыть в посудомойке. It's sharp.$описание$),
           ('KNF-0001', 'ja', '牛刀', '鍛造；刃渡り20cm。「食洗機；不可」'),
           ('BWL-0001', 'ru', 'Чаша для кофе с молоком', E'Набор из 4 шт.;\nглазурь «крем»'),
           ('BWL-0001', 'ja', 'カフェオレボウル', U&'4\500B\7D44')
       ) AS t (sku, locale, name, description)
  JOIN products AS p ON p.sku = t.sku;

CREATE FUNCTION product_name(product products, wanted_locale text) RETURNS text
    LANGUAGE sql STABLE
AS $функция$
    -- «ru-RU» falls back to «ru», then to English;
    SELECT coalesce(
        (SELECT name
           FROM product_translations
          WHERE product_id = product.id
            AND locale IN (wanted_locale, left(wanted_locale, 2))
          ORDER BY length(locale) DESC
          LIMIT 1),
        product.name);
$функция$;

SELECT sku, product_name(products, 'ja-JP') AS "日本語", product_name(products, 'ru') AS "Русский"
  FROM products
 ORDER BY sku;
