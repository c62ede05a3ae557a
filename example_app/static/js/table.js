// The figures as a table, for users who cannot see the charts or want the numbers.

import { fill } from "./rows.js";

const MOST_ROWS = 15;

const CELLS = [
  (f) => new Date(f.time * 1000).toLocaleTimeString([], { hour12: false }),
  (f) => f.cpu.toFixed(1),
  (f) => (f.rss / 1e6).toFixed(1),
  (f) => f.rate_in.toFixed(1),
  (f) => f.rate_out.toFixed(1),
  (f) => f.connections,
  (f) => f.users,
];

const details = document.querySelector("#table");
const body = details.querySelector("tbody");
let latest = [];

details.addEventListener("toggle", write);

/** Show the newest of these figures, newest first, if the table is open. */
export function showTable(points) {
  latest = points;
  write();
}

function write() {
  if (!details.open) return;
  fill(body, latest.slice(-MOST_ROWS).reverse(), CELLS);
}
