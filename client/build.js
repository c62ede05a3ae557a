// Builds the npm package that `flask sse client` writes, and prints the size of its core:
// `npm run build`.
//
// With --check it writes nothing. It fails if a shipped file differs from a fresh build, or
// if the core is larger than its limit.

import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rollup } from "rollup";
import dts from "rollup-plugin-dts";
import { minify } from "terser";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const SHIPPED = join(HERE, "../flask_sse_hub/static");

// The limit for the gzipped core, which a page loads before it receives any event.
const MOST_BYTES = 6 * 1024;

// The entry points of the package: the name that is imported, the module, and the modules
// of its types. The adapters of frameworks import the core, and the other entry points.
// Those stand alone.
const ENTRIES = {
  "sse-hub": { module: "index", types: ["types", "presence-types"] },
  "sse-hub/answer": { module: "answer", types: ["answer-types"] },
  "sse-hub/refresh": { module: "refresh", types: [] },
  "sse-hub/react": { module: "react", types: ["component-types", "react-types"] },
  "sse-hub/vue": { module: "vue", types: ["component-types", "vue-types"] },
  "sse-hub/svelte": { module: "svelte", types: ["component-types", "svelte-types"] },
};

// The modules that the core loads if a page needs them. They are in the package's folder, and
// are no entry points. Names and modules are as above.
const PARTS = { "sse-hub/shared": "shared" };

// The frameworks that the entry points import. A page without one does not need it.
const FRAMEWORKS = { react: ">=18", svelte: ">=4", vue: ">=3.3" };

const { description, license, version } = JSON.parse(read(HERE, "package.json"));

function read(...path) {
  return readFileSync(join(...path), "utf8");
}

/** Return the name of an entry point's files, without their extension. */
const fileOf = (name) => name.replace("/", "-");

function manifest() {
  const exports = Object.entries(ENTRIES).map(([name]) => [
    name.replace("sse-hub", "."),
    { types: `./${fileOf(name)}.d.ts`, default: `./${fileOf(name)}.js` },
  ]);
  const optional = Object.keys(FRAMEWORKS).map((name) => [name, { optional: true }]);
  const fields = {
    name: "sse-hub",
    version,
    description,
    license,
    type: "module",
    exports: { ...Object.fromEntries(exports), "./package.json": "./package.json" },
    sideEffects: false,
    peerDependencies: FRAMEWORKS,
    peerDependenciesMeta: Object.fromEntries(optional),
  };
  return `${JSON.stringify(fields, null, 2)}\n`;
}

/** Return a module and all its imports as one file, without frameworks and the core. */
async function bundle(input, plugins) {
  const built = await rollup({
    input,
    plugins,
    external: [/^(react|svelte|vue)\b/],
    onwarn: (warning) => {
      throw new Error(warning.message);
    },
  });
  const { output } = await built.generate({ format: "es", sourcemap: "hidden" });
  return output[0];
}

/**
 * Give private names of equal length in different classes the same name. Terser then needs
 * fewer short names for them. The positions in the source map stay right.
 */
function withFewPrivateNames(code) {
  const parts = code.split(/^(?=class )/m).map((part) => {
    const names = new Map();
    const counts = {};
    return part.replace(/#[a-z]\w+/gi, (name) => {
      const { length } = name;
      if (!names.has(name)) {
        counts[length] = (counts[length] ?? 0) + 1;
        const letter = String.fromCharCode(96 + counts[length]);
        names.set(name, `#${letter.padEnd(length - 1, "x")}`);
      }
      return names.get(name);
    });
  });
  return parts.join("");
}

// The modules of entry points that adapters import.
const IMPORTED = [
  // The core exports everything that others use of it, types included.
  [/\/(index|stream|errors|types|presence|presence-types)(\.js|\.d\.ts)?$/, "./sse-hub.js"],
  [/\/answer(-types)?(\.js|\.d\.ts)?$/, "./sse-hub-answer.js"],
];

// The entry points that import no other one.
const ALONE = ["index", "answer", "refresh", "shared"];

/**
 * Keep the modules of other entry points out of an adapter, or of any declarations. The
 * modules that the core loads later are in no other file.
 */
function resolve(module, kept) {
  return {
    resolveId(id, importer) {
      if (importer === undefined) return null;
      const part = Object.keys(PARTS).find((name) => id === `./${PARTS[name]}.js`);
      if (part) return { id: `./${fileOf(part)}.js`, external: true };
      if (kept.includes(module)) return null;
      const [, file] = IMPORTED.find(([name]) => name.test(id)) ?? [];
      const isOwn = file === `./${fileOf(`sse-hub/${module}`)}.js`;
      return file && !isOwn ? { id: file, external: true } : null;
    },
  };
}

/** Return the script of a module of the package, and its source map with the sources. */
async function script(name, module) {
  const { code, map } = await bundle(join(HERE, `src/${module}.js`), [
    resolve(module, ALONE),
  ]);
  map.sources = map.sources.map((path) => `src/${basename(path)}`);
  const file = `${fileOf(name)}.js`;
  // Joined statements make the code shorter, but not its gzipped form. No getter has an
  // effect, and no function is called as a constructor.
  const compress = {
    passes: 3,
    sequences: false,
    hoist_funs: true,
    pure_getters: true,
    unsafe_arrows: true,
  };
  const minified = await minify(withFewPrivateNames(code), {
    module: true,
    ecma: 2022,
    compress,
    format: { preamble: `/*! flask_sse_hub ${version}, MIT: LICENSES.txt */` },
    sourceMap: { content: map, filename: file, url: `${file}.map` },
  });
  return { [file]: `${minified.code}\n`, [`${file}.map`]: `${minified.map}\n` };
}

/** Return the types of an entry point, which are in the comments of the sources. */
async function declarations(name, folder) {
  const { module, types } = ENTRIES[name];
  const entry = join(folder, `${module}-entry.d.ts`);
  const lines = types.map((each) => `export type * from "./${each}.js";\n`);
  if (!ALONE.includes(module))
    lines.push('export type { Options, StreamEvent } from "./types.js";\n');
  writeFileSync(entry, `export * from "./${module}.js";\n${lines.join("")}`);
  const { code } = await bundle(entry, [resolve(module, ["index"]), dts()]);
  // Symbol.dispose belongs to a newer library than the rest.
  const library = '/// <reference lib="esnext.disposable" />\n';
  const needed = code.includes("Symbol.dispose") ? library : "";
  return { [`${fileOf(name)}.d.ts`]: needed + readable(code) };
}

/** Leave out of the comments the tags, whose types are in the declarations too. */
function readable(code) {
  return code.replace(/^ *\/\*\*[^]*?\*\/\n/gm, (comment) => {
    // The tags come after the text.
    const text = comment.replace(/[\s*]+@[a-z][^]*?(\s*\*\/\n)$/, "$1");
    return /\w/.test(text) ? text : "";
  });
}

/** Write the declarations of all sources into a folder. */
function emitDeclarations(folder) {
  const tsc = join(HERE, "node_modules/typescript/bin/tsc");
  const emit = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly"];
  execFileSync(process.execPath, [tsc, "--project", HERE, ...emit, "--outDir", folder], {
    stdio: "inherit",
  });
}

async function made() {
  const folder = mkdtempSync(join(tmpdir(), "sse-hub-"));
  emitDeclarations(folder);
  const files = {
    "LICENSES.txt": `sse-hub\n\n${read(HERE, "../LICENSE")}`,
    "package.json": manifest(),
  };
  for (const [name, { module }] of Object.entries(ENTRIES))
    Object.assign(files, await script(name, module), await declarations(name, folder));
  for (const [name, module] of Object.entries(PARTS))
    Object.assign(files, await script(name, module));
  rmSync(folder, { recursive: true });
  return files;
}

const files = await made();
/** @param {string} text */
const gzipped = (text) => gzipSync(text, { level: 9 }).length;
for (const [name, text] of Object.entries(files))
  if (name.endsWith(".js"))
    console.log(`${name}: ${text.length} bytes minified, ${gzipped(text)} gzipped`);
if (gzipped(files["sse-hub.js"]) > MOST_BYTES)
  throw new Error(`${MOST_BYTES} bytes are allowed`);
mkdirSync(SHIPPED, { recursive: true });
for (const [name, text] of Object.entries(files)) {
  if (!process.argv.includes("--check")) writeFileSync(join(SHIPPED, name), text);
  else if (read(SHIPPED, name) !== text) {
    throw new Error(`${name} is not what the sources make: npm run build`);
  }
}
