// The workers of the server, as a table. The page has it when it is loaded.

import { fill } from "./rows.js";

const CELLS = [
  (w) => w.worker,
  (w) => w.pid,
  (w) => w.connections,
  (w) => w.cpu.toFixed(1),
  (w) => (w.rss / 1e6).toFixed(1),
];

const body = document.querySelector("#workers tbody");
const silence = document.querySelector("#silent");

export function showWorkers({ workers, silent }) {
  fill(body, workers, CELLS);
  silence.textContent = silent ? `${silent} gave no answer` : "";
}
