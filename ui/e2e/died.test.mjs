// A process is killed in the middle of a migration, and somebody finishes its work on the page.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { build, go, inspect, project, signIn, step, stopAll } from "./harness.mjs";
import { ids, slow } from "./shopfiles.mjs";

let shop;
let page;
let faults;
let deploy;
let unlock;

before(async () => {
  shop = project(build("aurora", "./cmd/aurora"), {
    "aurora.hcl": 'env "production" {\n  url = "local://?engine=postgres"\n}\n',
    ...slow,
  });
  const server = await shop.dashboard("--env", "production");
  ({ page, faults } = await signIn(server));
});
after(async () => {
  await unlock?.();
  await stopAll();
});

const scene = (name, run) => step(name, run, () => page);

const dialog = () => page.getByRole("dialog");
const now = () => page.getByRole("region", { name: "Now" });
const unrounded = "SELECT count(*) FROM orders WHERE total <> round(total)";
/** A lease lasts half a minute without its holder. */
const untilTheLeaseEnds = { timeout: 180_000 };

/** waits returns when a session has the lock on the table, or waits for it. */
async function waits(which) {
  const sql = `SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND ${which}`;
  for (let tries = 0; shop.psql(sql) === "0"; tries++) {
    assert.ok(tries < 1200, `no session was seen where ${which}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

scene("a deployment is in the middle of a statement, and is killed", async () => {
  assert.equal(shop.run("migrate", "apply", "1", "--env", "production").status, 0);
  // Somebody else has the table, so that the procedure waits.
  unlock = shop.hold("BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
  await waits("granted");
  deploy = shop.start("migrate", "apply", "--env", "production");
  await waits("NOT granted");
  await now().getByText("order_totals").waitFor();
  await now().getByText(`pid ${deploy.pid}`).waitFor();
  deploy.kill("SIGKILL");
  await inspect(page, "died-lease");
});

scene("when its lease has ended the page says that it died, and who it was", async () => {
  const card = page.getByRole("region", { name: `Interrupted: ${ids.totals}` });
  await card.waitFor(untilTheLeaseEnds);
  await now().getByText("Free.").waitFor();
  await card.getByText("stopped at statement 2 of 3").waitFor();
  await card.getByText(`pid ${deploy.pid}`).waitFor();
  await card.getByText("may have happened").waitFor();
  await inspect(page, "died-dashboard");
  await card.getByRole("link", { name: "Show the statement" }).click();
  await page.locator("#statement-1").getByText("done").first().waitFor({ state: "attached" });
  await page.locator("#statement-2").getByText("may have run").waitFor();
  await page.locator("#statement-3").getByText("not run").waitFor();
  await page.getByText("Statement 2 may have happened.").waitFor();
  await inspect(page, "died-migration");
});

scene("running it again asks what only a person can know, and finishes it", async () => {
  await unlock();
  assert.equal(shop.psql(unrounded), "1000", "the server went on without its client");
  await page.getByRole("button", { name: "Run again…" }).click();
  await dialog().getByRole("button", { name: "Apply 1 migration" }).click();
  await dialog().getByText("Did this statement happen?").waitFor();
  await inspect(page, "died-unsure");
  await dialog().getByRole("button", { name: "It did not happen: run it again" }).click();
  await dialog().getByText("1 migration applied.").waitFor();
  await dialog().getByRole("button", { name: "Done" }).click();
  await page.getByText("Applied", { exact: true }).waitFor();
  assert.equal(shop.psql(unrounded), "0");
  assert.equal(shop.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_total'::regclass"), "t");
  await go(page, "#/");
  await page.getByText("Ready: everything is applied.").waitFor();
  assert.deepEqual(faults, []);
});
