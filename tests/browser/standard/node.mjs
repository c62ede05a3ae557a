// Reads all cases in Node.js: node node.mjs URL CLIENT < cases. Prints the results.

import { EventSource } from "eventsource";
import { run } from "./run.mjs";

const [url, client] = process.argv.slice(2);
const { connect } = await import(client);

let text = "";
for await (const chunk of process.stdin) text += chunk;

const urlOf = ({ name }, by) => `${url}/case/${encodeURIComponent(name)}?by=${by}`;
console.log(JSON.stringify(await run(JSON.parse(text), { connect, EventSource, urlOf })));
