// Packs the npm package as it would be published, and checks that bundlers, Node.js and
// TypeScript find everything in it: `npm run check`.
//
// The package has ES modules only. CommonJS loads them with import(), and versions of
// TypeScript that do not know `exports` are not supported.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const PACKAGE = join(HERE, "../flask_sse_hub/static");

// The tarball is outside of the package's folder, which tests read at the same time.
const folder = mkdtempSync(join(tmpdir(), "sse-hub-"));
try {
  const pack = ["pack", PACKAGE, "--silent", "--pack-destination", folder];
  const tarball = join(folder, execFileSync("npm", pack, { encoding: "utf8" }).trim());
  for (const [tool, ...options] of [
    ["publint", "--strict"],
    ["attw", "--profile", "esm-only", "--quiet"],
  ]) {
    const program = join(HERE, "node_modules/.bin", tool);
    execFileSync(program, [tarball, ...options], { stdio: "inherit" });
  }
} finally {
  rmSync(folder, { recursive: true });
}
