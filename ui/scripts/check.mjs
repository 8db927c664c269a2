// Every check that needs no browser: npm run check. The last one builds anew
// and compares with dist, which is committed.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

for (const script of ["lint", "typecheck", "test"]) run("npm", ["run", "--silent", script]);

const lock = readFileSync(join(root, "package-lock.json"), "utf8");
if (lock.includes('"resolved"')) fail("package-lock.json names hosts: install with the .npmrc that is here");

const fresh = mkdtempSync(join(tmpdir(), "aurora-ui-"));
try {
  run("npx", ["vite", "build", "--outDir", fresh, "--emptyOutDir", "--logLevel", "warn"]);
  const [want, got] = [hashes(join(root, "dist")), hashes(fresh)];
  for (const name of new Set([...want.keys(), ...got.keys()])) {
    if (want.get(name) !== got.get(name)) fail(`dist/${name} is not what the sources make: npm run build`);
  }
  console.log(`dist is what the sources make: ${want.size} files`);
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) fail(`${command} ${args.join(" ")} failed`);
}

function hashes(dir) {
  const names = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const of = (entry) =>
    createHash("sha256")
      .update(readFileSync(join(entry.parentPath, entry.name)))
      .digest("hex");
  return new Map(names.map((entry) => [join(entry.parentPath, entry.name).slice(dir.length + 1), of(entry)]));
}

function fail(why) {
  console.error(why);
  process.exitCode = 1;
  throw new Error(why);
}
