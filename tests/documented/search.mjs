// Searches the site's index with the theme's own search, which browsers run in a worker.
// Arguments: the site's folder, then the queries. Prints the found pages of each as JSON.
import { readFileSync, readdirSync } from "node:fs";

const [site, ...queries] = process.argv.slice(2);
const folder = `${site}/assets/javascripts/workers/`;
const [worker] = readdirSync(folder).filter((name) => /^search\..*\.js$/.test(name));

let receive, reply;
globalThis.self = globalThis;
globalThis.addEventListener = (_, listener) => (receive = listener);
globalThis.postMessage = (message) => reply(message);
globalThis.importScripts = () => {};
(0, eval)(readFileSync(folder + worker, "utf8"));

const ask = (message) =>
  new Promise((resolve) => {
    reply = resolve;
    receive({ data: message });
  });

const index = JSON.parse(readFileSync(`${site}/search/search_index.json`));
await ask({ type: 0, data: { ...index, options: { suggest: false } } });
const found = [];
for (const query of queries) {
  const { data } = await ask({ type: 2, data: query });
  // The results of one page are shown together, under the page's title.
  found.push(data.items.map(([best]) => best.location.replace(/#.*/, "")));
}
console.log(JSON.stringify(found));
