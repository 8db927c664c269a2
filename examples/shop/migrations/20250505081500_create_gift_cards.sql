-- atlas:txtar

-- # Gift cards
--
-- A card has a balance that payments draw on. Rolling back is refused by the
-- database once somebody has paid with one: the old CHECK no longer holds.

-- checks.sql --
SELECT NOT EXISTS (SELECT FROM payments WHERE method NOT IN ('card', 'transfer', 'wallet'));

-- migration.sql --
CREATE TABLE gift_cards (
    id         uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
    code       text          NOT NULL UNIQUE,
    issued     numeric(10,2) NOT NULL,
    balance    numeric(10,2) NOT NULL,
    issued_at  timestamptz   NOT NULL DEFAULT now(),
    expires_at timestamptz   NOT NULL DEFAULT now() + interval '3 years',

    CONSTRAINT gift_cards_code_format CHECK (code ~ '^([A-Z0-9]{4}-){3}[A-Z0-9]{4}$'),
    CONSTRAINT gift_cards_issued_positive CHECK (issued > 0),
    CONSTRAINT gift_cards_balance_range CHECK (balance BETWEEN 0 AND issued)
);

ALTER TABLE payments
    ADD COLUMN gift_card_id uuid REFERENCES gift_cards (id),
    DROP CONSTRAINT payments_method,
    ADD CONSTRAINT payments_method CHECK (method IN ('card', 'transfer', 'wallet', 'gift card')),
    ADD CONSTRAINT payments_gift_card_given CHECK ((method = 'gift card') = (gift_card_id IS NOT NULL));

CREATE FUNCTION draw_on_gift_card() RETURNS trigger
    LANGUAGE plpgsql
AS $draw$
BEGIN
    UPDATE gift_cards
       SET balance = balance - NEW.amount
     WHERE id = NEW.gift_card_id AND expires_at > now();

    IF NOT FOUND THEN
        RAISE EXCEPTION 'gift card %: it''s expired; take another', NEW.gift_card_id;
    END IF;
    RETURN NULL;
END;
$draw$;

CREATE TRIGGER payments_draw_on_gift_card
    AFTER INSERT ON payments
    FOR EACH ROW
    WHEN (NEW.gift_card_id IS NOT NULL)
    EXECUTE FUNCTION draw_on_gift_card();

INSERT INTO gift_cards (code, issued, balance) VALUES ('AURO-RA25-MAYI-0001', 50.00, 50.00);

-- down.sql --
DROP TRIGGER payments_draw_on_gift_card ON payments;

DROP FUNCTION draw_on_gift_card();

-- Fails, and changes nothing, if a gift card has been used;
ALTER TABLE payments
    DROP CONSTRAINT payments_gift_card_given,
    DROP CONSTRAINT payments_method,
    ADD CONSTRAINT payments_method CHECK (method IN ('card', 'transfer', 'wallet')),
    DROP COLUMN gift_card_id;

DROP TABLE gift_cards;
