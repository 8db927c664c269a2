-- atlas:txmode none

-- One account for an address. The index comes first and has to be valid before
-- the constraint takes it over.

CREATE UNIQUE INDEX CONCURRENTLY users_email ON users (email);

ALTER TABLE users ADD CONSTRAINT users_email UNIQUE USING INDEX users_email;
