// The dashboard: each event has all figures, so it only needs the latest.

import { showStateOf } from "./state.js";
import { toastEvent } from "./toast.js";

// Two minutes, at one point every two seconds.
const POINTS = 60;

class Figure {
  constructor(card) {
    this.name = card.dataset.figure;
    this.scale = Number(card.dataset.scale);
    this.digits = Number(card.dataset.digits);
    this.value = card.querySelector(".value span");
    this.line = card.querySelector(".spark-line");
    this.area = card.querySelector(".spark-area");
    // The line begins with what the page was rendered with.
    this.points = [];
    this.add(Number(this.value.textContent));
  }

  show(raw) {
    const value = raw / this.scale;
    this.value.textContent = value.toFixed(this.digits);
    this.add(value);
  }

  add(value) {
    this.points.push(value);
    if (this.points.length > POINTS) this.points.shift();
    this.draw();
  }

  draw() {
    const least = Math.min(...this.points);
    const most = Math.max(...this.points);
    // Few points are stretched over the whole width, and one is drawn as two.
    const points = this.points.length > 1 ? this.points : [most, most];
    const spots = points.map((value, index) => {
      const x = (index / (points.length - 1)) * 100;
      const y = most > least ? 27 - ((value - least) / (most - least)) * 24 : 15;
      return `${x.toFixed(2)},${y.toFixed(2)}`;
    });
    this.line.setAttribute("points", spots.join(" "));
    this.area.setAttribute("points", `0,30 ${spots.join(" ")} 100,30`);
  }
}

const figures = [...document.querySelectorAll("[data-figure]")].map((card) => new Figure(card));
const source = new EventSource(document.querySelector("#dashboard").dataset.stream);
showStateOf(source);

source.addEventListener("dashboardUpdate", (event) => {
  const values = JSON.parse(event.data);
  for (const figure of figures) figure.show(values[figure.name]);
  document.querySelector("#updated").textContent = new Date().toLocaleTimeString([], { hour12: false });
});

// The stream is a personal one too, so notifications come wherever the person is.
source.addEventListener("notification", toastEvent);

// There is no listener for "reset" here: it would load the state anew, and the next
// event, two seconds later, is the whole state.
