// The dashboard: right when it is loaded, and kept so by a stream of its own.

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

// Other tabs with a dashboard share it. What is published from the page's cursor on is
// what the page does not have yet.
const stream = connect(page.dataset.stream, {
  shared: true,
  lastEventId: page.dataset.cursor,
  userId: pageStream.userId,
  on: { dashboardUpdate: add },
  // The next event, two seconds later, has all figures again; but not those before it.
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
