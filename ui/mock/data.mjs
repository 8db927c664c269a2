// Made-up histories in the shape of the dashboard's API.

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

const holder = (runtime = "cli", user = "ada", host = "build-7") => ({
  host,
  pid: 4711,
  user,
  runtime,
  text: `${user}@${host}, pid 4711, ${runtime}`,
  ...(runtime === "github" ? { link: "https://ci.example.com/runs/8123" } : {}),
});

const totals = `CREATE VIEW order_totals AS
SELECT u.id AS user_id, u.name, count(o.id) AS orders, coalesce(sum(o.total), 0) AS spent
FROM users u
LEFT JOIN orders o ON o.user_id = u.id AND o.status <> 'new'
GROUP BY u.id, u.name;`;

const sources = {
  "20260901090000_create_users": [
    "CREATE TABLE users (\n    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),\n    email text NOT NULL,\n    name text NOT NULL\n);",
  ],
  "20260901091500_index_users": ["CREATE INDEX CONCURRENTLY users_name ON users (name);"],
  "20260903100000_create_orders": [
    "CREATE TABLE orders (\n    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    user_id uuid NOT NULL REFERENCES users,\n    status text NOT NULL DEFAULT 'new', -- new, paid, sent\n    total numeric(12, 2) NOT NULL\n);",
  ],
  "20260903101500_index_orders": ["CREATE INDEX CONCURRENTLY orders_user ON orders (user_id);"],
  "20260905080000_seed_demo": [
    "INSERT INTO users (id, email, name) VALUES\n    ('6f0c0f3e-0000-4000-8000-000000000001', 'ada@example.com', 'Ada'),\n    ('6f0c0f3e-0000-4000-8000-000000000002', 'bob@example.com', 'Bob; the one with a semicolon');",
    "INSERT INTO orders (user_id, status, total)\nSELECT u.id, 'paid', 10.00 * n FROM users u CROSS JOIN generate_series(1, 3) AS n;",
  ],
  "20260910120000_add_plan": [
    "ALTER TABLE users ADD COLUMN plan text;",
    "ALTER TABLE users ALTER COLUMN plan SET DEFAULT 'free';",
    "UPDATE users SET plan = 'free' WHERE plan IS NULL;",
    "ALTER TABLE users ADD CONSTRAINT users_plan\n    CHECK (plan IS NOT NULL AND plan IN ('free', 'pro')) NOT VALID;",
    "ALTER TABLE users VALIDATE CONSTRAINT users_plan;",
  ],
  "20260912090000_unique_email": [
    "CREATE UNIQUE INDEX CONCURRENTLY users_email ON users (email);",
    "ALTER TABLE users ADD CONSTRAINT users_email UNIQUE USING INDEX users_email;",
  ],
  "20260915140000_order_totals": [totals],
  "20260918101500_backfill_country": ["backfillCountry"],
  "20261020083000_a_migration_whose_name_goes_on_and_on_because_somebody_wanted_to_say_everything_in_it": [
    "ALTER TABLE orders ADD COLUMN shipped_at timestamptz;",
  ],
  "20261103074500_drop_legacy_status": ["ALTER TABLE orders DROP COLUMN status;"],
};

const description = `# One account for an address

The login page looks accounts up **by e-mail address**. Two accounts with the same one would let
the wrong person in.

- the index comes first, and is built while people go on writing
- then the constraint takes it over: \`USING INDEX\`
- see <https://wiki.example.com/login> and [the ticket](https://tickets.example.com/412)

| what | how long |
|---|---|
| index | about 2 min |
| constraint | at once |

\`\`\`sql
-- who would be in the way
SELECT email, count(*) FROM users GROUP BY email HAVING count(*) > 1;
\`\`\`

<script>alert("no")</script>`;

const error =
  'could not create unique index "users_email": Key (email)=(ada@example.com) is duplicated. (SQLSTATE 23505)';

const seeded = (n) => {
  const x = Math.sin(n * 999) * 10000;
  return x - Math.floor(x);
};

/** A Story collects attempts, the newest first, as a history that is told from its beginning. */
class Story {
  attempts = [];
  runs = [];

  constructor(scenario, now) {
    this.scenario = scenario;
    this.iso = (ago) => new Date(now - ago).toISOString();
  }

  /** run adds an execution that began some time ago. */
  run(ago, list, extra = {}) {
    const n = this.runs.length;
    const digits = String(1e11 + Math.round(seeded(n + 3) * 9e11)).slice(0, 12);
    const id = `0199f3${String(n).padStart(2, "0")}-8c1e-7d53-9f6a-${digits}`;
    this.runs.unshift({ id, ...extra });
    let offset = 0;
    for (const [migration, more] of list) {
      const by = { executionId: id, holder: extra.holder ?? holder(), reason: extra.reason };
      const a = this.attempt(migration, ago - offset, { ...by, ...more });
      offset += (a.durationMs ?? 0) + 15;
    }
  }

  attempt(id, ago, extra) {
    const list = sources[id] ?? ["SELECT 1;"];
    const took = Math.round(8 + 900 * seeded(this.attempts.length + 1) ** 3);
    const a = {
      id,
      version: id.slice(0, id.indexOf("_")),
      name: id.slice(id.indexOf("_") + 1),
      direction: "up",
      state: "completed",
      kind: "applied",
      startedAt: this.iso(ago),
      finishedAt: this.iso(ago - took),
      durationMs: took,
      steps: list.length,
      done: list.length,
      checksum: "h1:mC0x4b2sW9Zt7Kqk0bJYwVn3oJb0R5y6oC1d7m8X2Uk=",
      operator: "aurora v0.9.0",
      outputTruncated: false,
      statementsFrom: "file",
      ...extra,
    };
    a.statements = this.statements(a, list, took);
    this.attempts.unshift(a);
    return a;
  }

  statements(a, list, took) {
    let line = 4;
    return list.map((sql, index) => {
      const rest = a.state === "running" && index === a.done ? "running" : "pending";
      const s = { index, sql, go: a.id.includes("backfill"), pos: `${a.id}.sql:${line}`, state: rest };
      line += sql.split("\n").length + 1;
      if (index === a.errorIndex) s.state = "failed";
      if (index < a.done) {
        s.state = "done";
        s.durationMs = Math.round((took / list.length) * (0.3 + seeded(index + 5) * 1.4));
      }
      if (sql.includes("CONCURRENTLY") && this.scenario === "healthy") {
        s.sent = sql.replace("CONCURRENTLY", "ASYNC");
        s.changes = ["CREATE INDEX CONCURRENTLY is CREATE INDEX ASYNC in DSQL; aurora waits for the build"];
      }
      return s;
    });
  }

  log(ago, n, every, line) {
    const one = (i) => `time=${this.iso(ago - i * every)} ${line(i)}`;
    return `${Array.from({ length: n }, (_, i) => one(i)).join("\n")}\n`;
  }
}

const plain = (...list) => list.map((id) => [id, {}]);

function healthy(story, ids) {
  const batch = (i) =>
    i % 57 === 56
      ? `level=WARN msg="throttled, waiting" rows=${500 * i}`
      : `level=INFO msg="batch done" rows=${500 * (i + 1)} last=user-${i * 500}`;
  story.run(9 * day, [[ids[6], { description }], ...plain(ids[7])]);
  story.run(3 * day, [[ids[7], { direction: "down" }]], {
    reason: "the view was too slow for the checkout page",
    holder: { ...holder("dashboard"), by: "grace@example.com" },
  });
  story.run(2 * day, plain(ids[7]));
  const long = { durationMs: 2 * hour + 3 * minute, finishedAt: story.iso(day - 2 * hour) };
  const output = { output: story.log(day, 400, 300, batch), outputDropped: 1822, outputTruncated: true };
  story.run(day, [[ids[8], { ...long, ...output }]], { holder: holder("fargate", "task", "b1c9") });
  story.run(5 * hour, plain(ids[9]));
}

function failed(story, ids) {
  const ago = 4 * minute + 12_000;
  const lines = [
    'level=INFO msg="waiting for the build of users_email"',
    'level=WARN msg="build failed" index=users_email state=INVALID',
    'level=INFO msg="dropped the broken index" index=users_email',
  ];
  const broken = {
    state: "failed",
    done: 0,
    error,
    errorIndex: 0,
    errorStep: sources[ids[6]][0],
    errorPos: `${ids[6]}.sql:4`,
    description,
    output: story.log(ago, 3, 400, (i) => lines[i]),
  };
  story.run(ago, [[ids[6], broken]], { holder: holder("github", "runner", "ci-12") });
}

function running(story, ids) {
  const ago = 96_000;
  story.run(9 * day, [[ids[6], { description }], ...plain(ids[7])]);
  const going = {
    state: "running",
    finishedAt: undefined,
    durationMs: undefined,
    done: 0,
    checkpoint: { lastKey: "user-48201", done: 48201, failed: [] },
    progress: {
      done: 48201,
      total: 182000,
      unit: "rows",
      ratePerSecond: 502,
      etaSeconds: 266,
      activity: "batch 97",
    },
    output: story.log(
      ago,
      60,
      1500,
      (i) => `level=INFO msg="batch done" rows=${500 * (i + 1)} last=user-${i * 500}`,
    ),
  };
  story.run(ago, [[ids[8], going]], { holder: holder("fargate", "task", "b1c9") });
}

/** build returns a history; scenario is healthy, failed, running, empty or big. */
export function build(scenario, now = Date.now()) {
  const story = new Story(scenario, now);
  let ids = Object.keys(sources);
  if (scenario === "empty") ids = [];
  if (scenario === "big") {
    ids = Array.from({ length: 10_000 }, (_, i) => `${20200101000000 + i * 137}_change_${i}`);
    for (let i = 0; i < 9990; i += 30) story.run((9990 - i) * 10 * minute, plain(...ids.slice(i, i + 30)));
  } else if (scenario !== "empty") {
    story.run(61 * day, plain(...ids.slice(0, 4)), { holder: holder("github", "runner", "ci-12") });
    story.run(40 * day, plain(ids[4]));
    story.run(20 * day, plain(ids[5]), { holder: holder("lambda", "orders-migrate", "eu-central-1") });
    ({ healthy, failed, running })[scenario](story, ids);
  }
  return { ids, attempts: story.attempts, runs: story.runs, description, sources };
}
