// The dashboard: its numbers are complete when it is loaded. Its own stream brings the charts'
// last minutes, and keeps all up to date.

import { connect } from "sse-hub";

import { Chart } from "./chart.js";
import { stream as pageStream } from "./page.js";
import { Recent } from "./recent.js";
import { showStateOf } from "./state.js";
import { showTable } from "./table.js";
import { showWorkers } from "./workers.js";

const page = document.querySelector("#dashboard");
const numbers = [...document.querySelectorAll("[data-figure]")];
const charts = [...document.querySelectorAll("[data-chart]")].map((card) => new Chart(card));
const recent = new Recent(JSON.parse(document.querySelector("#dashboard-figures").textContent));

// The stream begins with the figures of the last minutes: they are its state. After a reset
// it brings the state again, so the page loads nothing. A stream with state cannot be
// shared, because only a new stream brings the state. A dashboard in a hidden tab takes
// none of the browser's few connections.
const stream = connect(page.dataset.stream, {
  state: true,
  pauseWhenHidden: true,
  userId: pageStream.userId,
  on: { dashboardUpdate: add },
});
showStateOf(stream);
draw();

let isDue = false;

/** Add figures, and show them with the next frame: the state is many at once. */
function add(figures) {
  recent.add(figures);
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    show(recent.last);
  });
}

function show(figures) {
  for (const number of numbers) {
    const { figure, scale, digits } = number.dataset;
    number.textContent = (figures[figure] / scale).toFixed(digits);
  }
  showWorkers(figures);
  const time = new Date(figures.time * 1000);
  document.querySelector("#updated").textContent = time.toLocaleTimeString([], { hour12: false });
  draw();
}

function draw() {
  for (const chart of charts) chart.show(recent.points);
  showTable(recent.points);
}
