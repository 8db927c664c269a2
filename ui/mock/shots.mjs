// Screenshots of every page from made-up data: node mock/shots.mjs [name part].

import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { serve } from "./server.mjs";

const only = process.argv[2] ?? "";
const out = new URL("../e2e/shots/mock/", import.meta.url).pathname;
mkdirSync(out, { recursive: true });
const unique = "20260912090000_unique_email";
const desk = { width: 1280, height: 860 };
const phone = { width: 390, height: 844 };

const rollback = async (page) => {
  await page.getByRole("button", { name: "Roll back…" }).click();
  await page.getByRole("dialog").getByText("will be undone").waitFor();
};
const shots = [
  ["dashboard-failed", "failed", "#/"],
  ["dashboard-healthy", "healthy", "#/"],
  ["dashboard-running", "running", "#/"],
  ["dashboard-empty", "empty", "#/"],
  ["dashboard-down", "healthy", "#/", { down: true }],
  [
    "dashboard-readonly",
    "failed",
    "#/",
    {
      session: {
        readOnly: true,
        readOnlyReason: "no function is configured to run it",
        project: "orders-platform-billing",
        env: "production-eu-central",
      },
    },
  ],
  ["migrations", "healthy", "#/migrations"],
  ["migrations-failed", "failed", "#/migrations"],
  ["migrations-big", "big", "#/migrations"],
  ["migration-failed", "failed", `#/migrations/${unique}?statement=1`],
  ["migration-done", "healthy", `#/migrations/${unique}`],
  ["migration-output", "healthy", "#/migrations/20260918101500_backfill_country"],
  ["migration-running", "running", "#/migrations/20260918101500_backfill_country"],
  ["migration-pending", "failed", "#/migrations/20260915140000_order_totals"],
  ["migration-plan", "healthy", "#/migrations/20260910120000_add_plan"],
  ["executions", "healthy", "#/executions", {}, async (page) => page.locator("[data-row]").nth(6).click()],
  [
    "execution-failed",
    "failed",
    "#/executions",
    {},
    async (page) => {
      await page.locator("[data-row]").first().click();
      await page.getByText("Open execution").click();
    },
  ],
  ["rollback", "healthy", `#/migrations/${unique}`, {}, rollback],
  ["rollback-irreversible", "healthy", `#/migrations/${unique}`, { irreversible: true }, rollback],
  [
    "rollback-moved",
    "healthy",
    "#/migrations/20260918101500_backfill_country",
    { moved: true },
    async (page) => {
      await rollback(page);
      await page.getByLabel("Reason").fill("it is too slow");
      await page.getByLabel("to confirm").fill("backfill_country");
      await page.getByRole("button", { name: /^Roll back \d/ }).click();
      await page.getByText("The history moved").waitFor();
    },
  ],
  ["keys", "healthy", "#/", {}, async (page) => page.keyboard.press("?")],
  ["signin", "healthy", "#/", { login: "token" }],
  ["unknown", "healthy", "#/migrations/nothing"],
];

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
let problems = 0;
for (const [name, scenario, hash, overrides, act] of shots) {
  if (!name.includes(only)) continue;
  const server = await serve(scenario, 0, overrides);
  const base = `http://127.0.0.1:${server.address().port}/`;
  for (const [suffix, viewport, colorScheme] of [
    ["light", desk, "light"],
    ["dark", desk, "dark"],
    ["phone", phone, "light"],
  ]) {
    const page = await browser.newPage({
      viewport,
      colorScheme,
      deviceScaleFactor: suffix === "phone" ? 2 : 1,
    });
    page.on("console", (m) => {
      if (m.type() !== "error" || /status of (4|5)\d\d/.test(m.text())) return;
      problems++;
      console.log(name, suffix, m.text());
    });
    page.on("pageerror", (e) => {
      problems++;
      console.log(name, suffix, e.stack);
    });
    try {
      await page.goto(base + hash);
      await page.waitForTimeout(350);
      await act?.(page);
      await page.waitForTimeout(250);
      const wide = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      if (wide > 0) console.log(name, suffix, `is ${wide} px too wide`);
    } catch (e) {
      problems++;
      console.log(name, suffix, e.message);
    }
    await page.screenshot({
      path: `${out}${name}-${suffix}.png`,
      fullPage: !(await page.getByRole("dialog").count()) && scenario !== "big",
    });
    await page.close();
  }
  server.closeAllConnections();
  server.close();
}
await browser.close();
process.exit(problems ? 1 : 0);
