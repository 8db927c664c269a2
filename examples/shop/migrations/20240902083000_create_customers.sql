-- # Customers
--
-- Everybody who can place an order. An account is closed, never deleted:
-- orders and invoices must keep pointing at somebody.

CREATE DOMAIN email_address AS text
    CONSTRAINT email_address_format CHECK (VALUE ~ '^[^@[:space:]]+@[^@[:space:]]+\.[^@[:space:]]+$');

CREATE TABLE customers (
    id         uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    email      email_address NOT NULL,
    full_name  text          NOT NULL,
    locale     text          NOT NULL DEFAULT 'en',
    closed_at  timestamptz,
    created_at timestamptz   NOT NULL DEFAULT now(),
    updated_at timestamptz   NOT NULL DEFAULT now(),

    CONSTRAINT customers_full_name_not_blank CHECK (btrim(full_name) <> ''),
    CONSTRAINT customers_locale_format CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
    CONSTRAINT customers_closed_after_created CHECK (closed_at >= created_at)
);

-- One open account per address, whatever its case; closing it frees the address.
CREATE UNIQUE INDEX customers_open_email_key ON customers (lower(email)) WHERE closed_at IS NULL;

COMMENT ON TABLE customers IS 'Accounts; closed_at is set instead of deleting the row.';
COMMENT ON COLUMN customers.locale IS 'Language of mails -- "en" or "pt-BR"; the shop''s default is English.';
