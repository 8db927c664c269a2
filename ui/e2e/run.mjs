// Runs the browser tests: npm run e2e [name part …].

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const wanted = process.argv.slice(2);
const files = readdirSync(here)
  .filter(
    (name) => name.endsWith(".test.mjs") && (wanted.length === 0 || wanted.some((w) => name.includes(w))),
  )
  .map((name) => join(here, name));
const programs = mkdtempSync(join(tmpdir(), "aurora-e2e-programs-"));
const run = spawnSync(
  process.execPath,
  ["--test", "--test-concurrency=1", "--test-reporter=spec", ...files],
  {
    stdio: "inherit",
    // Every file is a process of its own; each program is built once for all of them.
    env: { ...process.env, E2E_PROGRAMS: programs },
  },
);
rmSync(programs, { recursive: true, force: true });
process.exit(run.status ?? 1);
