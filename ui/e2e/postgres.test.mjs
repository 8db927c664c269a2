// The stories of a dashboard over a real PostgreSQL, in a protected environment.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { build, go, inspect, project, signIn, step, stopAll } from "./harness.mjs";
import { files, fixed, ids, legacy } from "./shopfiles.mjs";

let shop;
let server;
let page;
let context;
let faults;

before(async () => {
  shop = project(build("aurora", "./cmd/aurora"), files);
  server = await shop.dashboard("--env", "production");
  ({ page, context, faults } = await signIn(server));
});
after(stopAll);

const scene = (name, run) => step(name, run, () => page);

const dialog = () => page.getByRole("dialog");

scene("an empty database shows what is pending", async () => {
  await page.getByRole("heading", { name: "Dashboard" }).waitFor();
  await page.getByText("Nothing ran yet").waitFor();
  await page.getByRole("link", { name: "Pending 6" }).waitFor();
  await inspect(page, "dashboard-empty");
  await go(page, "#/migrations");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 6);
  await go(page, `#/migrations/${ids.orders}`);
  await page.getByText("It has not run yet").waitFor();
  await page.getByText("CREATE INDEX").waitFor();
  await page.getByRole("button", { name: "Down" }).click();
  await page.getByText("DROP TABLE").waitFor();
  await inspect(page, "migration-pending");
});

scene("a deploy fails at 3 a.m.: from the card to the failing statement", async () => {
  await go(page, "#/");
  const deploy = shop.run("migrate", "apply", "--env", "production");
  assert.notEqual(deploy.status, 0, "the deployment should have failed");
  // Nobody reloads the page: the card comes by itself.
  const card = page.getByRole("region", { name: `Failed: ${ids.unique}` });
  await card.waitFor();
  await card.getByText("could not create unique index").waitFor();
  await card.getByText("ADD CONSTRAINT").waitFor();
  await page.getByRole("link", { name: "Failed 1" }).waitFor();
  await inspect(page, "dashboard-failed");

  let clicks = 0;
  clicks++;
  await card.getByRole("link", { name: "Show the failing statement" }).click();
  await page.getByRole("heading", { name: "unique_email" }).waitFor();
  const statement = page.locator("#statement-2");
  await statement.getByText("failed", { exact: true }).waitFor();
  await statement.getByText("users_email").first().waitFor();
  await statement.getByText("could not create unique index").waitFor();
  await inView("#statement-2");
  assert.ok(clicks <= 3);
  // PostgreSQL undid the first statement with the transaction, and the page must not call it done.
  await page.locator("#statement-1").getByText("undone").waitFor();
  await inspect(page, "migration-failed");
});

/** inView waits until all of an element is in view. */
async function inView(selector) {
  await page.waitForFunction((s) => {
    const box = document.querySelector(s).getBoundingClientRect();
    return box.top >= 0 && box.bottom <= window.innerHeight;
  }, selector);
}

scene("a hostile description does nothing", async () => {
  const prose = page.locator(".prose");
  await prose.getByRole("heading", { name: "One account for an address" }).waitFor();
  await prose.getByText('<script>alert("no")</script>').waitFor();
  assert.equal(await prose.locator("script, img, iframe").count(), 0);
  assert.deepEqual(await prose.locator("a").evaluateAll((links) => links.map((a) => a.protocol)), [
    "https:",
    "https:",
  ]);
  assert.equal(await prose.getByText("how", { exact: true }).count(), 0, "a javascript: link became a link");
});

scene("the file is fixed, and the migration is run again from here", async () => {
  shop.write(`migrations/${ids.unique}.sql`, fixed);
  await page.getByRole("button", { name: "Run again…" }).click();
  await dialog().getByText("1 migration will run").waitFor();
  await dialog()
    .getByRole("button", { name: /^2026\d+_?\s*_?unique_email|unique_email/ })
    .first()
    .click();
  await dialog().getByText("DELETE FROM").waitFor();
  await answer("the duplicates are deleted first now");
  await inspect(page, "apply-dialog");
  await dialog().getByRole("button", { name: "Apply 1 migration" }).click();
  await dialog().getByText("1 migration applied.").waitFor();
  await inspect(page, "apply-done");
  await dialog().getByRole("button", { name: "Done" }).click();
  await page.getByText("Applied", { exact: true }).waitFor();
  await page.waitForFunction(
    () => document.querySelectorAll("[aria-labelledby=attempts] [data-row]").length === 2,
  );
  await page.locator("[aria-labelledby=attempts] [data-row]").nth(1).click();
  await page.getByText("The file changed since").waitFor();
  await page.getByText("The statement that failed, as it ran").waitFor();
  // The statement at its place is another one now, which never failed.
  assert.equal(await page.locator("#statement-2").getByText("failed", { exact: true }).count(), 0);
  await inspect(page, "migration-earlier-attempt");
});

async function answer(reason) {
  const field = dialog().getByLabel("Reason");
  if (await field.count()) await field.fill(reason);
}

scene("the rest is applied from the dashboard", async () => {
  await go(page, "#/");
  await page.getByRole("button", { name: "Apply…" }).click();
  await dialog().getByText("1 migration will run").waitFor();
  await answer("the view for finance");
  await dialog().getByRole("button", { name: "Apply 1 migration" }).click();
  await dialog().getByText("1 migration applied.").waitFor();
  await dialog().getByRole("button", { name: "Done" }).click();
  await page.getByText("Ready: everything is applied.").waitFor();
  await page.getByRole("link", { name: "Completed 6" }).waitFor();
  await inspect(page, "dashboard-ready");
});

scene("a rollback asks for a reason and the name, and is recorded with them", async () => {
  await go(page, `#/migrations/${ids.unique}`);
  await page.getByRole("button", { name: "Roll back…" }).click();
  await dialog().getByText("2 migrations will be undone, in this order.").waitFor();
  const plan = await dialog().getByRole("list", { name: "Plan" }).locator("li").allInnerTexts();
  assert.ok(plan[0].includes("order_totals") && plan[1].includes("unique_email"), `wrong order: ${plan}`);
  const press = dialog().getByRole("button", { name: "Roll back 2 migrations" });
  assert.ok(await press.isDisabled());
  await inspect(page, "rollback-dialog");
  await answer("checkout is slow since this morning");
  assert.ok(await press.isDisabled(), "the name was not asked for");
  await dialog().getByLabel("to confirm").fill("unique_emai");
  assert.ok(await press.isDisabled(), "a part of the name was enough");
  await dialog().getByLabel("to confirm").fill("unique_email");
  await press.click();
  await dialog().getByText("2 migrations undone.").waitFor();
  await dialog()
    .getByRole("link", { name: /unique_email/ })
    .waitFor();
  await inspect(page, "rollback-done");
  await dialog().getByRole("link", { name: "Open the execution" }).click();
  await page.getByRole("heading", { name: "Rollback of 2 migrations" }).waitFor();
  await inspect(page, "execution");
  await go(page, `#/migrations/${ids.unique}`);
  await page.getByText("Rolled back", { exact: true }).first().waitFor();
  const said = shop.run("migrate", "status", "--env", "production");
  assert.match(said.stdout, /Current Version: 20260910120000/);
});

scene("of two tabs that race one gets 409 and nothing happens twice", async () => {
  const other = await context.newPage();
  // The second tab hears nothing of the first, as on a bad network.
  await other.route("**/api/events*", (route) => route.abort());
  await other.goto(`${server.base}#/migrations/${ids.plan}`);
  for (const tab of [page, other]) {
    await tab.goto(`${server.base}#/migrations/${ids.plan}`);
    await tab.getByRole("button", { name: "Roll back…" }).click();
    await tab.getByText("1 migration will be undone").waitFor();
    await tab.getByLabel("Reason").fill("racing");
    await tab.getByLabel("to confirm").fill("add_plan");
  }
  await page.getByRole("button", { name: "Roll back 1 migration" }).click();
  await page.getByText("1 migration undone.").waitFor();
  const refused = other.waitForResponse((r) => r.url().endsWith("/api/rollback"));
  await other.getByRole("button", { name: "Roll back 1 migration" }).click();
  const response = await refused;
  assert.equal(response.status(), 409);
  assert.equal((await response.json()).code, "head_moved");
  await other.getByText("The history moved").waitFor();
  assert.ok(await other.getByRole("button", { name: /^Roll back \d/ }).isDisabled());
  await inspect(other, "rollback-moved");
  await other.getByRole("button", { name: "Make the plan again" }).click();
  await other.getByText("The history moved").waitFor({ state: "detached" });
  // What it was to undo is undone: there is no such plan any more.
  await other.getByRole("dialog").getByRole("alert").waitFor();
  assert.equal(await other.getByRole("button", { name: /^Roll back \d/ }).count(), 0);
  await inspect(other, "rollback-no-plan");
  await other.close();
  const said = shop.run("migrate", "status", "--env", "production");
  assert.match(said.stdout, /Current Version: 20260905080000/, "the refused rollback ran all the same");
  await dialog().getByRole("button", { name: "Done" }).click();
});

scene("a tab that listens sees that the history moved before anything is pressed", async () => {
  await go(page, `#/migrations/${ids.seed}`);
  await page.getByRole("button", { name: "Roll back…" }).click();
  await dialog().getByText("1 migration will be undone").waitFor();
  assert.equal(shop.run("migrate", "apply", "1", "--env", "production").status, 0);
  await dialog().getByText("The history moved").waitFor();
  await dialog().getByRole("button", { name: "Make the plan again" }).click();
  await dialog().getByText("2 migrations will be undone").waitFor();
  await page.keyboard.press("Escape");
});

scene("what cannot be undone is marked, and stops the plan", async () => {
  for (const [name, text] of Object.entries(legacy)) shop.write(name, text);
  assert.equal(shop.run("migrate", "apply", "--env", "production").status, 0);
  await go(page, `#/migrations/${ids.totals}`);
  await page.getByRole("button", { name: "Roll back…" }).click();
  await dialog().getByText("irreversible").first().waitFor();
  await dialog().getByRole("alert").waitFor();
  assert.ok(
    await dialog()
      .getByRole("button", { name: /^Roll back/ })
      .isDisabled(),
  );
  await inspect(page, "rollback-irreversible");
  await page.keyboard.press("Escape");
  await go(page, `#/migrations/${ids.legacy}`);
  assert.ok(await page.getByRole("button", { name: "Roll back…" }).isDisabled());
});

scene("migrations are found by status, kind and words, with the keyboard alone", async () => {
  await go(page, "#/");
  await page.keyboard.press("/");
  await page.getByRole("searchbox").waitFor();
  await page.waitForFunction(() => document.activeElement?.id === "search");
  await page.keyboard.type("unique account");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 7);
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "drop_legacy_status" }).waitFor();
  const heading = page.getByRole("heading", { name: "Migrations" });
  // The second key counts only right after the first, for which a machine may be too slow.
  for (let tries = 0; tries < 20 && (await heading.count()) === 0; tries++) {
    await page.keyboard.press("g");
    await page.keyboard.press("m");
    await heading.waitFor({ timeout: 5_000 }).catch(() => {});
  }
  await heading.waitFor();
  await page.getByRole("button", { name: /^Pending/ }).click();
  await page.getByText("Nothing matches").waitFor();
  await inspect(page, "migrations-nothing");
  await page.getByRole("button", { name: "Show all migrations" }).click();
  // A file that goes, and one that changes.
  shop.remove(`migrations/${ids.orders}.sql`);
  await page.reload();
  await page.getByText("The migration files cannot be read").waitFor();
  await inspect(page, "files-broken");
  shop.remove(`migrations/${ids.orders}.down.sql`);
  shop.write(`migrations/${ids.users}.sql`, `${files[`migrations/${ids.users}.sql`]}-- and a remark\n`);
  await page.reload();
  await page.getByText("File missing", { exact: true }).first().waitFor();
  await page.getByText("edited", { exact: true }).waitFor();
  await inspect(page, "migrations");
});

scene("executions open to their migrations", async () => {
  await go(page, "#/executions");
  const rows = page.locator("[data-row]");
  await rows.first().waitFor();
  await rows.first().click();
  await page.getByRole("link", { name: /drop_legacy_status/ }).waitFor();
  await page.locator("[data-row]", { hasText: "Failed" }).click();
  await inspect(page, "executions");
});

scene("two executions are compared", async () => {
  await page
    .locator("[data-row]", { hasText: "Failed" })
    .locator("xpath=..")
    .getByText("Open execution")
    .click();
  await page.getByRole("heading", { name: "Execution of 5 migrations" }).waitFor();
  const select = page.getByRole("combobox", { name: "Compare with" });
  await select.selectOption({ index: 1 });
  const row = page.getByRole("row", { name: /unique_email/ });
  await row.getByText("Failed", { exact: true }).waitFor({ state: "attached" });
  await row.getByText("Completed", { exact: true }).waitFor({ state: "attached" });
  // Four are only here, and two only there.
  await page.getByText("not in it").nth(5).waitFor({ state: "attached" });
  assert.equal(await page.getByText("not in it").count(), 6, "four are only here, two only there");
  await inspect(page, "execution-compared");
});

scene("the theme is kept, and the keys are told", async () => {
  await page.getByRole("button", { name: /^Theme/ }).click();
  await page.getByRole("button", { name: /^Theme: the light/ }).click();
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await page.getByRole("button", { name: /^Theme: the dark/ }).click();
  await page.keyboard.press("?");
  await dialog().getByText("Search the migrations").waitFor();
  await inspect(page, "keys");
  await page.keyboard.press("Escape");
});

scene("what is not there is said", async () => {
  await go(page, "#/migrations/nothing");
  await page.getByRole("alert").waitFor();
  await inspect(page, "migration-unknown");
  await go(page, "#/nowhere");
  await page.getByText("There is no such page").waitFor();
});

scene("who reads the history learns why", async () => {
  await go(page, "#/executions");
  await page.locator("[data-row]", { hasText: "down" }).last().click();
  await page.getByText("“checkout is slow since this morning”").waitFor();
});

scene("a server that ends is noticed, and one without a session lets nobody in", async () => {
  await go(page, "#/");
  await server.stop();
  await page.getByText("Offline").waitFor();
  await page.getByText("The dashboard does not answer.").waitFor();
  await inspect(page, "offline");
});

scene("nothing was asked of another host, and nothing broke the content policy", () => {
  assert.deepEqual(faults, []);
});
