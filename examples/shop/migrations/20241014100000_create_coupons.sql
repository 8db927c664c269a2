-- # Coupons
--
-- Either a percentage or an amount, never both. Old codes are kept by a rule, so
-- that support can find a coupon by whatever is printed on the flyer.

CREATE TABLE coupons (
    id          bigint       PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    code        text         NOT NULL UNIQUE,
    percent_off numeric(4,1),
    amount_off  numeric(8,2),
    valid       tstzrange    NOT NULL DEFAULT tstzrange(now(), NULL),
    max_uses    integer,
    uses        integer      NOT NULL DEFAULT 0,

    CONSTRAINT coupons_code_format CHECK (code ~ '^[A-Z0-9]{4,16}$'),
    CONSTRAINT coupons_one_discount CHECK (num_nonnulls(percent_off, amount_off) = 1),
    CONSTRAINT coupons_discount_range CHECK (
        CASE WHEN percent_off IS NOT NULL THEN percent_off > 0 AND percent_off <= 100
             ELSE amount_off > 0
        END
    ),
    CONSTRAINT coupons_valid_not_empty CHECK (NOT isempty(valid)),
    CONSTRAINT coupons_uses_left CHECK (uses >= 0 AND (max_uses IS NULL OR uses <= max_uses))
);

CREATE TABLE coupon_codes_old (
    code       text        PRIMARY KEY,
    coupon_id  bigint      NOT NULL REFERENCES coupons (id) ON DELETE CASCADE,
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE coupon_redemptions (
    coupon_id   bigint        NOT NULL REFERENCES coupons (id),
    order_id    uuid          NOT NULL REFERENCES orders (id),
    discount    numeric(12,2) NOT NULL,
    redeemed_at timestamptz   NOT NULL DEFAULT now(),

    PRIMARY KEY (order_id, coupon_id),
    CONSTRAINT coupon_redemptions_discount_positive CHECK (discount > 0)
);

CREATE INDEX coupon_redemptions_coupon_id_idx ON coupon_redemptions (coupon_id);

CREATE RULE coupons_keep_old_code AS
    ON UPDATE TO coupons
    WHERE OLD.code <> NEW.code
    DO ALSO (
        -- A code that comes back isn't old any more;
        DELETE FROM coupon_codes_old WHERE code = NEW.code;
        INSERT INTO coupon_codes_old (code, coupon_id)
        VALUES (OLD.code, OLD.id)
        ON CONFLICT (code) DO UPDATE SET coupon_id = excluded.coupon_id, changed_at = now();
    );

INSERT INTO coupons (code, percent_off, max_uses) VALUES ('WELCOME10', 10.0, NULL), ('AUTUMN24', 15.0, 500);
INSERT INTO coupons (code, amount_off) VALUES ('SORRY5', 5.00) RETURNING id, code;
