// The migrations of a small shop. The fifth fails, because of the third.

export const ids = {
  users: "20260901090000_create_users",
  orders: "20260903100000_create_orders",
  seed: "20260905080000_seed_demo",
  plan: "20260910120000_add_plan",
  unique: "20260912090000_unique_email",
  totals: "20260915140000_order_totals",
  legacy: "20261103074500_drop_legacy_status",
};

const file = (id, way = "") => `migrations/${id}${way}.sql`;

export const broken = `-- # One account for an address
--
-- The login page looks accounts up **by e-mail address**, so there may be only
-- one for each. <script>alert("no")</script>
--
-- - first the duplicates go: [why](https://wiki.example.com/login), [how](javascript:alert(1))
-- - then the constraint, which ![builds](https://img.example.com/pixel.png) its index

ALTER TABLE users ADD COLUMN verified boolean NOT NULL DEFAULT false;

ALTER TABLE users
    ADD CONSTRAINT users_email UNIQUE (email);
`;

export const fixed = broken.replace(
  "ALTER TABLE users\n",
  "DELETE FROM users a USING users b WHERE a.id > b.id AND a.email = b.email;\n\nALTER TABLE users\n",
);

export const files = {
  "aurora.hcl": `env "production" {
  url = "local://?engine=postgres"
  protected = true
}
env "staging" {
  url = "local://?engine=postgres"
  history {
    url = "file://history.db"
  }
}
`,
  [file(ids.users)]:
    "-- Whom we sell to.\nCREATE TABLE users (\n    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    email text NOT NULL,\n    name text NOT NULL\n);\n",
  [file(ids.users, ".down")]: "DROP TABLE users;\n",
  [file(ids.orders)]:
    "CREATE TABLE orders (\n    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    user_id bigint NOT NULL REFERENCES users,\n    status text NOT NULL DEFAULT 'new', -- new, paid, sent\n    total numeric(12, 2) NOT NULL\n);\n\nCREATE INDEX orders_user ON orders (user_id);\n",
  [file(ids.orders, ".down")]: "DROP TABLE orders;\n",
  [file(ids.seed)]:
    "-- Something to look at.\n\nINSERT INTO users (email, name) VALUES\n    ('ada@example.com', 'Ada'),\n    ('bob@example.com', 'Bob; the one with a semicolon'),\n    ('ada@example.com', 'Ada again');\n\nDO $$ BEGIN RAISE NOTICE 'three users, two addresses'; END $$;\n",
  [file(ids.seed, ".down")]: "DELETE FROM users;\n",
  [file(ids.plan)]:
    "ALTER TABLE users ADD COLUMN plan text NOT NULL DEFAULT 'free';\n\nALTER TABLE users ADD CONSTRAINT users_plan CHECK (plan IN ('free', 'pro')) NOT VALID;\n\nALTER TABLE users VALIDATE CONSTRAINT users_plan;\n",
  [file(ids.plan, ".down")]: "ALTER TABLE users DROP COLUMN plan;\n",
  [file(ids.unique)]: broken,
  [file(ids.unique, ".down")]:
    "ALTER TABLE users DROP CONSTRAINT users_email;\n\nALTER TABLE users DROP COLUMN verified;\n",
  [file(ids.totals)]:
    "-- What each user has spent.\n\nCREATE VIEW order_totals AS\nSELECT u.id AS user_id, u.name, count(o.id) AS orders, coalesce(sum(o.total), 0) AS spent\nFROM users u\nLEFT JOIN orders o ON o.user_id = u.id AND o.status <> 'new'\nGROUP BY u.id, u.name;\n",
  [file(ids.totals, ".down")]: "DROP VIEW order_totals;\n",
};

export const legacy = { [file(ids.legacy)]: "ALTER TABLE orders ADD COLUMN legacy text;\n" };

/** slow are migrations of which the second commits each statement by itself. */
export const slow = {
  [file(ids.orders)]:
    "CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(12, 2) NOT NULL);\n\nINSERT INTO orders SELECT n, n + 0.4 FROM generate_series(1, 1000) n;\n\nCREATE PROCEDURE round_totals() LANGUAGE sql AS 'UPDATE orders SET total = round(total)';\n",
  [file(ids.totals)]:
    "-- Totals are whole numbers from now on.\n-- atlas:txmode none\n\nCREATE TABLE order_totals (day date PRIMARY KEY, spent numeric);\n\nCALL round_totals();\n\nCREATE INDEX CONCURRENTLY orders_total ON orders (total);\n",
};

const unique = (mended) =>
  `CREATE TABLE logins (id bigint PRIMARY KEY, user_id bigint NOT NULL);\n\n${mended}CREATE UNIQUE INDEX users_email ON users (email);\n`;

/** people are migrations that a PostgreSQL and a DSQL take. The third fails, because of the second. */
export const people = {
  failing: "20260912090000_unique_email",
  files: {
    [file(ids.users)]: "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL);\n",
    [file(ids.users, ".down")]: "DROP TABLE users;\n",
    [file(ids.seed)]: "INSERT INTO users VALUES (1, 'ada@example.com'), (2, 'ada@example.com');\n",
    [file(ids.seed, ".down")]: "DELETE FROM users;\n",
    [file(ids.unique)]: unique(""),
    [file(ids.unique, ".down")]: "DROP INDEX users_email;\n\nDROP TABLE logins;\n",
  },
  mended: { [file(ids.unique)]: unique("DELETE FROM users WHERE id = 2;\n\n") },
};
