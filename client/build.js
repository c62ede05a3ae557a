// Builds the files that the package ships, and prints their size: `npm run build`.
//
// With --check it writes nothing. It fails if a shipped file differs from a fresh build, or
// if the core is larger than its limit.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rollup } from "rollup";
import dts from "rollup-plugin-dts";
import { minify } from "terser";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const SHIPPED = join(HERE, "../flask_sse_hub/static");
const PARSER = join(HERE, "node_modules/eventsource-parser");

// The limit for the gzipped core, which a page loads before it receives any event.
const MOST_BYTES = 6 * 1024;

// The names of the shipped files, and their entry points.
const ENTRIES = { "sse-hub": "index", "sse-hub-react": "react" };

const { version } = JSON.parse(read(HERE, "package.json"));

function read(...path) {
  return readFileSync(join(...path), "utf8");
}

/** Return a module and all its imports as one file, without React and the core. */
async function bundle(input, plugin) {
  const built = await rollup({
    input,
    plugins: [plugin],
    external: ["react"],
    onwarn: (warning) => {
      throw new Error(warning.message);
    },
  });
  const { output } = await built.generate({ format: "es" });
  return output[0].code;
}

/** Keep the core out of the other entry points, and bundle the event-stream parser. */
function resolve(entry) {
  return {
    resolveId(id, importer) {
      if (id === "eventsource-parser") return join(PARSER, "dist/index.js");
      const isCore =
        importer !== undefined && entry !== "index" && /\/index(\.js|\.d\.ts)?$/.test(id);
      return isCore ? { id: "./sse-hub.js", external: true } : null;
    },
  };
}

// The parts of the parser that the client does not need, and what stands there instead. The
// client gives it no callbacks for errors and comments, and text without a byte order mark,
// which a TextDecoder leaves out.
const UNUSED = [
  [/Cannot feed parser: [^"]+/, "an event is too long"],
  [/onError\(\s*new ParseError\((?:[^()]|\([^()]*\))*\)\s*\)/g, "0"],
  // Shortcuts for lines that the code behind them reads too. Without them ids are read
  // more slowly, and lines that end in a carriage return.
  [/const firstCharCode = chunk.charCodeAt\(start\);[^]*?(?=const line = )/, ""],
  [/isFirstChunk && \(.* === 239 .*\(chunk = chunk\.slice\(3\)\)\), /, ""],
  [/onEvent = noop, onError = noop, onRetry = noop, onComment,/, "onEvent, onRetry,"],
  ["return { feed, reset }", "return { feed }"],
];

/** Leave out the unused parts of the parser. */
function shortened(code, id) {
  if (!id.startsWith(PARSER)) return null;
  for (const [part, instead] of UNUSED) {
    const shorter = code.replace(part, instead);
    if (shorter === code) throw new Error(`the parser has no ${part} any more`);
    code = shorter;
  }
  return { code, map: null };
}

async function script(entry) {
  const plugin = { ...resolve(entry), transform: shortened };
  const code = await bundle(join(HERE, `src/${entry}.js`), plugin);
  // Joined statements and swapped operands make the code shorter, but not its gzipped form.
  const compress = { passes: 3, sequences: false, lhs_constants: false, hoist_funs: true };
  const options = { module: true, ecma: 2022, compress };
  const minified = await minify(code, options);
  return `/*! flask_sse_hub ${version}, MIT: LICENSES.txt */\n${minified.code}\n`;
}

async function declarations(entry, folder) {
  const types = dts();
  return bundle(join(folder, `${entry}.d.ts`), { ...types, ...resolveFirst(entry, types) });
}

function resolveFirst(entry, types) {
  const ours = resolve(entry);
  return {
    resolveId(id, importer, options) {
      return (
        ours.resolveId(id, importer) ?? types.resolveId.call(this, id, importer, options)
      );
    },
  };
}

async function made() {
  // The types are in the comments of the sources.
  const folder = mkdtempSync(join(tmpdir(), "sse-hub-"));
  const tsc = join(HERE, "node_modules/typescript/bin/tsc");
  const emit = [
    "--noEmit",
    "false",
    "--declaration",
    "--emitDeclarationOnly",
    "--outDir",
    folder,
  ];
  execFileSync(process.execPath, [tsc, "--project", HERE, ...emit], { stdio: "inherit" });
  const files = { "LICENSES.txt": licences() };
  for (const [name, entry] of Object.entries(ENTRIES)) {
    files[`${name}.js`] = await script(entry);
    files[`${name}.d.ts`] = await declarations(entry, folder);
  }
  rmSync(folder, { recursive: true });
  return files;
}

function licences() {
  const own = `sse-hub.js and sse-hub-react.js\n\n${read(HERE, "../LICENSE")}`;
  return `${own}\n\neventsource-parser, which is in sse-hub.js\n\n${read(PARSER, "LICENSE")}`;
}

const files = await made();
const size = gzipSync(files["sse-hub.js"], { level: 9 }).length;
console.log(`sse-hub.js: ${files["sse-hub.js"].length} bytes minified, ${size} gzipped`);
if (size > MOST_BYTES) throw new Error(`${MOST_BYTES} bytes are allowed`);
mkdirSync(SHIPPED, { recursive: true });
for (const [name, text] of Object.entries(files)) {
  if (!process.argv.includes("--check")) writeFileSync(join(SHIPPED, name), text);
  else if (read(SHIPPED, name) !== text) {
    throw new Error(`${name} is not what the sources make: npm run build`);
  }
}
