// 10,000 migrations with 100,000 revisions, on the real server: what the browser does stays small.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before } from "node:test";
import { build, go, project, signIn, step, stopAll } from "./harness.mjs";

const migrations = 10_000;
const executions = 200;
const perExecution = 500;
const pageSize = 100;

const version = (n) => `2025${String(n).padStart(10, "0")}`;
const name = "change_of_the_schema";
const sql = (n) =>
  `-- What this is good for.\n\nCREATE TABLE t${n} (id bigint);\n\nCREATE INDEX ON t${n} (id);\n`;
const checksum = (text) => `sha256-v1:${createHash("sha256").update(text).digest("hex")}`;

let page;
let context;
let faults;
let requests = [];

before(async () => {
  const files = {};
  const rows = [];
  for (let n = 0; n < migrations; n++) {
    files[`migrations/${version(n)}_${name}.sql`] = sql(n);
    rows.push(`${n}\t${version(n)}\t${checksum(sql(n))}`);
  }
  const shop = project(build("aurora", "./cmd/aurora"), {
    "aurora.hcl": 'env "shop" {\n  url = "local://?engine=postgres"\n}\n',
    ...files,
  });
  const server = await shop.dashboard("--env", "shop");
  // The first makes the tables, and its row is what the others are like.
  assert.equal(shop.run("migrate", "apply", "1", "--env", "shop").status, 0);
  const made = shop.psql(`
CREATE TEMP TABLE files (n int, version text, checksum text);
COPY files FROM STDIN;
${rows.join("\n")}
\\.
CREATE TEMP TABLE first AS SELECT * FROM aurora.aurora_revisions;
DELETE FROM aurora.aurora_revisions;
INSERT INTO aurora.aurora_revisions (project, execution, version, name, description, checksum, direction, state, kind, token, seq,
    steps, done, begun, hashes, checkpoint, error, error_step, error_pos, started_at, finished_at, holder, operator, output, output_dropped)
  SELECT first.project, '01900000-0000-7000-8000-' || lpad(e::text, 12, '0'), f.version, '${name}', 'What this is good for.', f.checksum,
    'up', 'completed', first.kind, first.token - ${executions} + e, i + 1, 2, 2, 0, first.hashes, NULL, '', '', '',
    timestamptz '2025-01-01' + (e * ${perExecution} + i) * interval '1 second', timestamptz '2025-01-01' + (e * ${perExecution} + i + 1) * interval '1 second',
    first.holder, first.operator, repeat('created a table and an index' || chr(10), 4), 0
  FROM first, generate_series(0, ${executions - 1}) e, generate_series(0, ${perExecution - 1}) i, files f
  WHERE f.n = (e * ${perExecution} + i) % ${migrations};
ANALYZE aurora.aurora_revisions;
SELECT count(*) FROM aurora.aurora_revisions;`);
  assert.equal(made, String(executions * perExecution));
  ({ page, context, faults } = await signIn(server));
  page.on("request", (request) => requests.push(new URL(request.url())));
});
after(stopAll);

const scene = (text, run) => step(text, run, () => page);

/** asked returns the paths below api/ that were asked for, and forgets them. */
function asked() {
  // Chromium asks for the icon again whenever the address changes.
  const paths = requests.map((url) => url.pathname.slice(1)).filter((path) => path.startsWith("api/"));
  requests = [];
  return paths;
}

/** weigh measures what is left after a collection: the heap in bytes, and the nodes of the document. */
async function weigh() {
  const cdp = await context.newCDPSession(page);
  await cdp.send("HeapProfiler.collectGarbage");
  const { usedSize } = await cdp.send("Runtime.getHeapUsage");
  await cdp.detach();
  const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
  return { heap: usedSize, nodes };
}

/** scroll goes to the end of the page as a hand does. */
async function scroll() {
  for (let tries = 0; tries < 100; tries++) {
    await page.mouse.wheel(0, 1200);
    const atEnd = await page.evaluate(
      () => window.scrollY + window.innerHeight >= document.documentElement.scrollHeight - 2,
    );
    if (atEnd) return;
  }
  assert.fail("the page has no end");
}

const shown = (first) =>
  page
    .getByText(`${count(first)}–${count(first + pageSize - 1)} of ${count(migrations)} migrations`)
    .waitFor();
const count = (n) => n.toLocaleString("en");

scene("the dashboard opens with a few small answers", async (t) => {
  await page.getByText("Ready: everything is applied.").waitFor();
  await page.getByRole("link", { name: `Completed ${count(migrations)}` }).waitFor();
  const answers = await page.evaluate(() =>
    performance
      .getEntriesByType("resource")
      .filter((r) => r.name.includes("/api/") && r.responseEnd > 0)
      .map((r) => ({ path: new URL(r.name).pathname, bytes: r.decodedBodySize })),
  );
  t.diagnostic(JSON.stringify(answers));
  assert.ok(answers.length <= 8, JSON.stringify(answers));
  for (const a of answers) assert.ok(a.bytes < 256 << 10, `${a.path} has ${a.bytes} bytes`);
});

scene("paging through the table keeps the page as small as it was", async (t) => {
  asked();
  await go(page, "#/migrations");
  await shown(1);
  let first = 1;
  const walk = async (pages) => {
    for (let n = 0; n < pages; n++) {
      await scroll();
      await page.getByRole("button", { name: "Next" }).click();
      first += pageSize;
      await shown(first);
      await page.locator("table[aria-busy=false]").waitFor();
      assert.equal(await page.locator("tbody tr").count(), pageSize);
    }
  };
  await walk(3);
  asked();
  const before = await weigh();
  await walk(8);
  const lists = asked();
  const after = await weigh();
  t.diagnostic(
    `after 3 pages ${JSON.stringify(before)}, after 11 ${JSON.stringify(after)}, ${lists.length} requests`,
  );
  // A stream that was cut begins again, and then everything is read anew.
  const cut = lists.filter((path) => path === "api/events").length;
  if (cut === 0) assert.deepEqual(lists, Array(8).fill("api/migrations"), "one answer for each page");
  else assert.ok(lists.length <= 8 + 4 * cut, `${lists}`);
  assert.ok(Math.abs(after.nodes - before.nodes) < 100, `${before.nodes} elements, then ${after.nodes}`);
  assert.ok(after.nodes < 5000, `${after.nodes} elements`);
  assert.ok(after.heap - before.heap < 2 << 20, `the heap grew from ${before.heap} to ${after.heap} bytes`);
});

scene("one of 10,000 is found, and has its ten attempts", async () => {
  await go(page, "#/migrations");
  asked();
  await page.getByRole("searchbox").fill(version(4321));
  await page.getByText("1 of 1 migration").waitFor();
  assert.equal(await page.locator("tbody tr").count(), 1);
  assert.deepEqual(asked(), ["api/migrations"]);
  await page.locator("tbody tr a").first().click();
  await page.getByRole("heading", { name }).waitFor();
  assert.equal(await page.locator("[aria-labelledby=attempts] [data-row]").count(), 10);
});

scene("an execution of 500 migrations opens in parts", async (t) => {
  await go(page, "#/executions");
  await page.locator("[data-row]").first().waitFor();
  const rows = await page.locator("[data-row]").count();
  await go(page, "#/executions/01900000-0000-7000-8000-000000000199");
  await page.getByRole("heading", { name: "Execution of 500 migrations" }).waitFor();
  const { nodes } = await weigh();
  await page.getByRole("button", { name: "Show 100 more of 500" }).waitFor();
  t.diagnostic(`${rows} executions on a page, ${nodes} elements for one of ${perExecution} migrations`);
  assert.equal(rows, 50);
  assert.ok(nodes < 3000, `${nodes} elements`);
  assert.deepEqual(faults, []);
});
