// The dashboard: complete when it is loaded, and kept up to date by its own stream.

import { connect } from "sse-hub";

import { Chart } from "./chart.js";
import { stream as pageStream } from "./page.js";
import { Recent } from "./recent.js";
import { showStateOf } from "./state.js";
import { showTable } from "./table.js";

const page = document.querySelector("#dashboard");
const numbers = [...document.querySelectorAll("[data-figure]")];
const charts = [...document.querySelectorAll("[data-chart]")].map((card) => new Chart(card));
const recent = new Recent(JSON.parse(document.querySelector("#dashboard-state").textContent));

// All tabs with a dashboard share this stream. It begins at the page's cursor: events
// after it are not in the page yet.
const stream = connect(page.dataset.stream, {
  shared: true,
  lastEventId: page.dataset.cursor,
  userId: pageStream.userId,
  on: { dashboardUpdate: add },
  // The next event, two seconds later, has all current figures, but not the missed ones.
  onReset: reload,
});
showStateOf(stream);
draw();

function add(figures) {
  if (recent.add(figures)) show(figures);
}

async function reload() {
  const answer = await fetch(page.dataset.state);
  if (!answer.ok) return;
  recent.begin(await answer.json());
  show(recent.last);
}

function show(figures) {
  for (const number of numbers) {
    const { figure, scale, digits } = number.dataset;
    number.textContent = (figures[figure] / scale).toFixed(digits);
  }
  document.querySelector("#worker").textContent = figures.worker;
  const time = new Date(figures.time * 1000);
  document.querySelector("#updated").textContent = time.toLocaleTimeString([], { hour12: false });
  draw();
}

function draw() {
  for (const chart of charts) chart.show(recent.points);
  showTable(recent.points);
}
