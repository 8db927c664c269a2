-- atlas:txtar

-- # Tracking numbers are unique
--
-- The carriers promise it, so the database may as well. The checks run first and
-- stop the migration, with nothing changed, when old rows say otherwise.

-- checks.sql --
-- No parcel shares its number with another one;
SELECT count(*) = count(DISTINCT (carrier, tracking_number))
  FROM shipments
 WHERE tracking_number IS NOT NULL;

-- and nobody typed '' where NULL was meant.
SELECT NOT EXISTS (SELECT FROM shipments WHERE btrim(tracking_number) = '');

-- migration.sql --
ALTER TABLE shipments
    ADD CONSTRAINT shipments_tracking_number_not_blank CHECK (btrim(tracking_number) <> ''),
    ADD CONSTRAINT shipments_tracking_number_key UNIQUE (carrier, tracking_number);

COMMENT ON CONSTRAINT shipments_tracking_number_key ON shipments IS 'Carriers don''t reuse numbers; -- if one does, split it off';

-- down.sql --
ALTER TABLE shipments
    DROP CONSTRAINT shipments_tracking_number_key,
    DROP CONSTRAINT shipments_tracking_number_not_blank;
