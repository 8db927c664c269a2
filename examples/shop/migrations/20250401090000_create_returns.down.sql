-- Returns are lost, and so is the number of pieces that came back.

DROP TABLE returns;

DROP FUNCTION count_return();

ALTER TABLE order_items
    DROP CONSTRAINT order_items_returned_range,
    DROP COLUMN returned;

DROP TYPE return_reason;
