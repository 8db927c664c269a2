// A history in a file, a program with migrations in Go, and a reader without rights.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { build, go, inspect, project, signIn, step, stopAll } from "./harness.mjs";

const backfill = "20260918101500_backfill_country";
const hcl = `env "staging" {
  history {
    url = "file://history.db"
  }
  migration {
    dir = "file://migrations"
  }
}
`;

let shop;
let server;
let page;
let faults;

before(async () => {
  shop = project(build("shop", "./ui/e2e/testdata/shop"), { "aurora.hcl": hcl, "migrations/.keep": "" });
  server = await shop.dashboard("--env", "staging");
  ({ page, faults } = await signIn(server));
});
after(stopAll);

const scene = (name, run) => step(name, run, () => page);

const dialog = () => page.getByRole("dialog");
const output = () => page.getByRole("region", { name: "Captured output" });

scene("a run that is started here shows its progress", async () => {
  await page.getByRole("button", { name: "Apply…" }).click();
  await dialog().getByText("2 migrations will run").waitFor();
  await dialog().getByRole("button", { name: "Apply 2 migrations" }).click();
  await dialog()
    .getByText(/of 1,000/)
    .waitFor();
  await inspect(page, "run-progress");
  await dialog().getByRole("button", { name: "Close", exact: true }).last().click();
  const now = page.getByRole("region", { name: "Now" });
  await now.getByText("backfill_country").waitFor();
  await now.getByRole("progressbar").waitFor();
  await now.getByText(/token \d+/).waitFor();
  await inspect(page, "dashboard-running");
});

scene("live output appears while it runs, and ends when it ends", async () => {
  await go(page, `#/migrations/${backfill}`);
  await page.getByText("live", { exact: true }).waitFor();
  await output().waitFor();
  await output().locator("> div").first().waitFor();
  const first = await output().locator("> div").count();
  await page.waitForFunction(
    (n) => document.querySelectorAll('[aria-label="Captured output"] > div').length > n,
    first,
  );
  assert.ok(await page.getByText("Running", { exact: true }).first().isVisible());
  await page.getByText("Checkpoint", { exact: true }).waitFor();
  // The newest line comes into view.
  await page.waitForFunction(() => {
    const el = document.querySelector('[aria-label="Captured output"]');
    return el.scrollHeight - el.scrollTop - el.clientHeight < 24;
  });
  await inspect(page, "migration-running");
  shop.write("go", "");
  await page.getByText("Applied", { exact: true }).waitFor();
  await page.getByText("live", { exact: true }).waitFor({ state: "detached" });
  await inspect(page, "migration-output");
});

scene("a migration that cannot be undone says why", async () => {
  await page.getByText("nobody knows which countries were empty").waitFor();
  assert.ok(await page.getByRole("button", { name: "Roll back…" }).isDisabled());
});

scene("a dashboard that may only read has no buttons that do something", async () => {
  const reader = await shop.dashboard("--env", "staging", "--read-only");
  const visit = await signIn(reader);
  await visit.page.getByText("read only").waitFor();
  await visit.page.getByText("Ready: everything is applied.").waitFor();
  await inspect(visit.page, "dashboard-readonly");
  for (const hash of ["#/", "#/migrations", `#/migrations/${backfill}`]) {
    await go(visit.page, hash);
    assert.equal(
      await visit.page.getByRole("button", { name: /Apply|Roll back|Run again/ }).count(),
      0,
      hash,
    );
  }
  assert.deepEqual(visit.faults, []);
  await visit.context.close();
});

scene("whoever has no session is told how to get one", async () => {
  const stranger = await signIn({ url: server.base, base: server.base });
  await stranger.page.getByText("Open the address with the token").waitFor();
  await inspect(stranger.page, "signin");
  await stranger.context.close();
});

scene("nothing was asked of another host, and nothing broke the content policy", () => {
  assert.deepEqual(faults, []);
});
