// One story on each of the other stores: a local DSQL, a file beside a PostgreSQL, and DynamoDB.

import assert from "node:assert/strict";
import { after } from "node:test";
import { build, dynamodb, go, inspect, project, signIn, step, stopAll } from "./harness.mjs";
import { ids, people } from "./shopfiles.mjs";

after(stopAll);

const aurora = () => build("aurora", "./cmd/aurora");

/** overPeople is the story of migrations in SQL. */
function overPeople(env) {
  const shop = project(aurora(), { "aurora.hcl": `env "shop" {\n${env}}\n`, ...people.files });
  return {
    shop,
    env: "shop",
    failing: ids.unique,
    count: 3,
    mend: () => {
      for (const [name, text] of Object.entries(people.mended)) shop.write(name, text);
    },
    checkUndone: () => {},
  };
}

const stories = [
  {
    name: "local DSQL",
    kind: "dsql",
    open: () => overPeople('  url = "local://"\n'),
    error: /Found duplicate key while validating index/,
    at: 2,
    // Here and where the history is elsewhere every statement commits by itself, and stays.
    before: /\bdone$/,
  },
  {
    name: "a history in a file",
    kind: "file",
    open: () =>
      overPeople('  url = "local://?engine=postgres"\n  history {\n    url = "file://history.db"\n  }\n'),
    error: /could not create unique index/,
    at: 2,
    before: /\bdone$/,
  },
  {
    name: "DynamoDB",
    kind: "dynamodb",
    open: async () => {
      const db = await dynamodb(build("dynamodb", "./tools/dynamodb"));
      const admin = () => db.get("Roles", { pk: { S: "role#admin" } });
      return {
        shop: project(aurora(), {}, { env: db.env, dir: "examples/roles" }),
        env: "local",
        failing: "20250601120000_add-user-roles",
        count: 2,
        mend: () => db.createTable("Roles"),
        checkDone: async () => assert.equal((await admin())?.name.S, "Admin"),
        checkUndone: async () => assert.equal(await admin(), undefined),
      };
    },
    error: /ResourceNotFoundException/,
    at: 1,
  },
];

for (const story of stories) tell(story);

function tell({ name, kind, open, error, at, before }) {
  let shop;
  let end;
  let visit;
  let page;
  const scene = (text, run) => step(`${name}: ${text}`, run, () => page);
  const dialog = () => page.getByRole("dialog");

  scene("every page loads before anything ran", async () => {
    end = await open();
    shop = end.shop;
    visit = await signIn(await shop.dashboard("--env", end.env));
    page = visit.page;
    await page.getByText("Nothing ran yet").waitFor();
    await page.getByRole("link", { name: `Pending ${end.count}` }).waitFor();
    assert.equal(await page.evaluate(async () => (await (await fetch("api/session")).json()).store), kind);
    await go(page, "#/migrations");
    assert.equal(await page.locator("tbody tr").count(), end.count);
    await go(page, `#/migrations/${end.failing}`);
    await page.getByText("It has not run yet").waitFor();
    await go(page, "#/executions");
    await page.getByText("Nothing ran yet").waitFor();
  });

  scene("what fails is found, and its error read", async () => {
    await go(page, "#/");
    await page.getByRole("button", { name: "Apply…" }).click();
    await dialog()
      .getByRole("button", { name: `Apply ${end.count} migrations` })
      .click();
    await dialog().getByText("Failed", { exact: true }).first().waitFor();
    await dialog().getByText(error).first().waitFor();
    await dialog().getByRole("button", { name: "Done" }).click();
    const card = page.getByRole("region", { name: `Failed: ${end.failing}` });
    await card.getByText(error).waitFor();
    await inspect(page, `${kind}-dashboard-failed`);
    await card.getByRole("link", { name: /^Show the failing (statement|step)$/ }).click();
    // Beside a time the word is for screen readers only.
    const state = (n, word) =>
      page.locator(`#statement-${n}`).getByText(word).first().waitFor({ state: "attached" });
    await state(at, /\bfailed$/);
    await page.getByText(error).first().waitFor();
    if (before) await state(1, before);
    await inspect(page, `${kind}-migration-failed`);
  });

  scene("it is mended, and run again from the page", async () => {
    await end.mend();
    await page.getByRole("button", { name: "Run again…" }).click();
    await dialog().getByRole("button", { name: "Apply 1 migration" }).click();
    await dialog().getByText("1 migration applied.").waitFor();
    await dialog().getByRole("button", { name: "Done" }).click();
    await page.getByText("Applied", { exact: true }).waitFor();
    assert.equal(await page.locator("[aria-labelledby=attempts] [data-row]").count(), 2);
    await end.checkDone?.();
  });

  scene("it is rolled back", async () => {
    await page.getByRole("button", { name: "Roll back…" }).click();
    await dialog().getByRole("button", { name: "Roll back 1 migration" }).click();
    await dialog().getByText("1 migration undone.").waitFor();
    await dialog().getByRole("link", { name: "Open the execution" }).click();
    await page.getByRole("heading", { name: /^Rollback of/ }).waitFor();
    await go(page, "#/executions");
    assert.equal(await page.locator("[data-row]").count(), 3);
    await go(page, `#/migrations/${end.failing}`);
    await page.getByText("Rolled back", { exact: true }).first().waitFor();
    await end.checkUndone?.();
    const said = shop.run("migrate", "status", "--env", end.env);
    assert.match(said.stdout, new RegExp(`Next Version: +${end.failing.slice(0, 14)}`), said.stderr);
    assert.deepEqual(visit.faults, []);
    await visit.context.close();
  });
}
