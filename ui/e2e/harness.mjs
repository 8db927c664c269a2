// What the browser tests share: real programs, real projects, a real Chromium.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { chromium } from "playwright-core";

const here = import.meta.dirname;
const shots = join(here, "shots");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const chromiumPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const root = mkdtempSync(join(tmpdir(), "aurora-e2e-"));
const stops = [];

/** after ends everything that was started here, the newest first. */
export async function stopAll() {
  for (const stop of stops.reverse()) await stop();
  rmSync(root, { recursive: true, force: true });
}

let failed = "";

/** step is a test that builds on those before it: after a failure the rest is not tried. */
export function step(name, run, page = () => undefined) {
  test(name, async (t) => {
    if (failed) return t.skip(`"${failed}" failed`);
    try {
      await run(t);
    } catch (error) {
      failed = name;
      await page()
        ?.screenshot({ path: join(shots, "failure.png") })
        .catch(() => {});
      throw new Error(String(error.message).split("\n").slice(0, 12).join("\n"), {
        cause: error.stack?.match(/\w+\.test\.mjs:\d+/)?.[0],
      });
    }
  });
}

/** build builds a program of this module once and returns its path. */
export function build(name, pkg) {
  const given = process.env[`E2E_${name.toUpperCase()}`];
  if (given) return given;
  const out = join(process.env.E2E_PROGRAMS ?? root, name);
  if (existsSync(out)) return out;
  const built = spawnSync("go", ["build", "-o", out, pkg], { cwd: join(here, "../.."), encoding: "utf8" });
  assert.equal(built.status, 0, built.stderr);
  return out;
}

/** project makes a directory with files, or takes one of this module, and returns what works in it. */
export function project(program, files, { env = {}, dir: given } = {}) {
  const dir = given ? join(here, "../..", given) : mkdtempSync(join(root, "project-"));
  const write = (name, text) => {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  for (const [name, text] of Object.entries(files)) write(name, text);
  const options = {
    cwd: dir,
    encoding: "utf8",
    env: { ...process.env, AURORA_PG_FETCH: "1", XDG_STATE_HOME: join(root, "state"), ...env },
  };
  return {
    dir,
    write,
    remove: (name) => rmSync(join(dir, name)),
    /** run runs the program to its end. */
    run: (...args) => spawnSync(program, args, { ...options, timeout: 600_000 }),
    /** start runs it beside the test. */
    start: (...args) => {
      const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
      stops.push(() => end(child));
      return child;
    },
    dashboard: (...args) => dashboard(program, args, options),
    /** psql runs SQL on the project's local://?engine=postgres, which runs while a dashboard does. */
    psql: (sql) => {
      const done = spawnSync("psql", psqlArgs(dir), { input: sql, encoding: "utf8", timeout: 600_000 });
      assert.equal(done.status, 0, done.stderr ?? `missing: psql (package postgresql-client): ${done.error}`);
      return done.stdout.trim();
    },
    /** hold runs SQL in a session that stays, with its locks, until it is told to end. */
    hold: (sql) => {
      const child = spawn("psql", psqlArgs(dir), { stdio: ["pipe", "ignore", "inherit"] });
      const ended = new Promise((resolve) => child.on("exit", resolve));
      child.stdin.write(`${sql};\n`);
      return () => {
        child.stdin.end();
        return ended;
      };
    },
  };
}

function psqlArgs(dir) {
  const { runtime_dir: socket } = JSON.parse(readFileSync(join(dir, ".aurora/pg.json"), "utf8"));
  return ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", socket, "-U", "postgres", "-d", "aurora"];
}

/** dynamodb starts a DynamoDB on this machine and returns what works on it. */
export async function dynamodb(program) {
  const child = spawn(program, ["sh", "-c", "echo $AWS_ENDPOINT_URL_DYNAMODB; exec cat"], {
    env: { ...process.env, AURORA_TEST_FETCH: "1", AWS_ENDPOINT_URL_DYNAMODB: "" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  stops.push(() => end(child));
  const url = await new Promise((resolve, reject) => {
    child.stdout.once("data", (data) => resolve(String(data).trim()));
    child.on("exit", (code) => reject(new Error(`the DynamoDB ended with ${code}`)));
  });
  // The signature is not looked at.
  const credential = "Credential=local/20260101/eu-central-1/dynamodb/aws4_request";
  const call = async (op, body) => {
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        "X-Amz-Target": `DynamoDB_20120810.${op}`,
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Date": "20260101T000000Z",
        Authorization: `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=host, Signature=0`,
      },
      body: JSON.stringify(body),
    });
    const said = await answer.json();
    assert.equal(answer.status, 200, `${op}: ${JSON.stringify(said)}`);
    return said;
  };
  return {
    env: {
      AWS_ENDPOINT_URL_DYNAMODB: url,
      AWS_REGION: "eu-central-1",
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
      AWS_EC2_METADATA_DISABLED: "true",
    },
    createTable: (name) =>
      call("CreateTable", {
        TableName: name,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
      }),
    get: async (name, key) => (await call("GetItem", { TableName: name, Key: key })).Item,
  };
}

/** dashboard starts the dashboard on a free port and returns its address, with the token that works once. */
async function dashboard(program, args, options) {
  const child = spawn(program, ["dashboard", "--no-open", "--port", "0", ...args], {
    ...options,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const url = await new Promise((resolve, reject) => {
    const listen = (data) => {
      said += data;
      const found = /http:\/\/127\.0\.0\.1:\d+\/\?token=\w+/.exec(said);
      if (found) resolve(found[0]);
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.on("exit", (code) => reject(new Error(`the dashboard ended with ${code}: ${said}`)));
  });
  const stop = () => end(child);
  stops.push(stop);
  return { url, base: new URL("/", url).href, stop, said: () => said };
}

function end(child) {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.on("exit", resolve);
    child.kill("SIGINT");
  });
}

let browser;

/** signIn opens a browser of its own, lets it in, and watches what it must not do. */
export async function signIn(server, options = {}) {
  assert.ok(existsSync(chromiumPath), `missing: ${chromiumPath} (packages chromium fonts-liberation)`);
  if (!browser) {
    browser = await chromium.launch({
      executablePath: chromiumPath,
      args: ["--no-sandbox", "--disable-gpu"],
      timeout: 120_000,
    });
    stops.push(() => browser.close());
  }
  const context = await browser.newContext({
    viewport: { width: 1280, height: 860 },
    colorScheme: "light",
    reducedMotion: "reduce",
    ...options,
  });
  // It only keeps a story from waiting for ever, however slow the machine is.
  context.setDefaultTimeout(120_000);
  const faults = [];
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(server.base)) faults.push(`asked another host: ${url}`);
  });
  context.on("console", (message) => {
    // What the server refuses shows in the console, too; the tests that make it refuse say so themselves.
    if (message.type() === "error" && !/Failed to load resource/.test(message.text()))
      faults.push(message.text());
  });
  context.on("weberror", (error) => faults.push(String(error.error().stack)));
  context.on("dialog", (dialog) => {
    faults.push(`a script opened a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const page = await context.newPage();
  await page.goto(server.url);
  return { context, page, faults };
}

/** go opens a page of the dashboard and waits until nothing of it is still being read. */
export async function go(page, hash) {
  await page.evaluate((to) => {
    window.location.hash = to;
  }, hash);
  await settled(page);
}

async function settled(page) {
  await page.locator("h1").first().waitFor();
  await page.waitForFunction(() => !document.querySelector('[role="status"] .sr-only, .pulse.panel'));
}

const phone = { width: 390, height: 844 };
const wide = { width: 1280, height: 860 };

/** inspect looks at a page as it stands: axe in both themes, the width of a phone, and a picture of each. */
export async function inspect(page, name) {
  mkdirSync(shots, { recursive: true });
  const whole = (await page.getByRole("dialog").count()) === 0;
  for (const [suffix, viewport, colorScheme] of [
    ["light", wide, "light"],
    ["dark", wide, "dark"],
    ["phone", phone, "light"],
  ]) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(shots, `${name}-${suffix}.png`), fullPage: whole });
    const tooWide = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.equal(tooWide, 0, `${name} ${suffix} scrolls sideways by ${tooWide} px`);
    await page.evaluate(axe);
    const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const serious = result.violations
      .filter((v) => v.impact === "serious" || v.impact === "critical")
      .map((v) => `${v.id} (${v.help}): ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`);
    assert.deepEqual(serious, [], `axe on ${name} ${suffix}`);
  }
  await page.setViewportSize(wide);
  await page.emulateMedia({ colorScheme: "light" });
}
