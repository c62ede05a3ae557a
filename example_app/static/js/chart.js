// One chart: a card with a title, numbers and a range as text, and a drawing beside them.
//
// The drawing is hidden from screen readers. They read the text, which says the same, and
// the table below the charts, which has all figures.

import uPlot from "../vendor/uplot/uPlot.esm.js";

// The time axis grows with the number of figures, from half a minute to three minutes.
const LEAST_SECONDS = 30;
const MOST_SECONDS = 180;
const HEIGHT = 150;
// In seconds. After a longer pause without figures, the line is interrupted: no dashboard
// was open then.
const GAP = 7;

const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

const MEGABYTE = 1e6;

// The figures that each chart draws, and the smallest span of its scale: noise of a tenth
// of a percent must not look like a mountain.
const KINDS = {
  cpu: { lines: [(f) => f.cpu], span: 5, digits: 1, unit: " %" },
  memory: { lines: [(f) => f.rss / MEGABYTE], span: 4, digits: 1, unit: " MB", floats: true },
  events: { lines: [(f) => f.rate_in, (f) => f.rate_out], names: ["in", "out"], span: 2, digits: 1, unit: "/s" },
  connections: { lines: [(f) => f.connections, (f) => f.users], names: ["streams", "people"], span: 4, digits: 0, unit: "" },
};

const root = document.documentElement;
const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

export class Chart {
  constructor(card) {
    this.kind = KINDS[card.dataset.chart];
    this.range = card.querySelector(".range");
    this.rangeText = "";
    const box = card.querySelector(".plot");
    this.plot = new uPlot(this.options(box.clientWidth), this.columns([]), box);
    new ResizeObserver(() => this.plot.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
    // Each drawing reads the colours again, so it has those of the current scheme.
    const redraw = () => this.plot.redraw(false);
    new MutationObserver(redraw).observe(root, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  /** Draw figures, oldest first. */
  show(points) {
    this.plot.setData(this.columns(points));
    this.rangeText = this.describe(points);
    this.showRange();
  }

  columns(points) {
    const spaced = points.flatMap((point, at) => {
      const before = points[at - 1];
      return before && point.time - before.time > GAP ? [null, point] : [point];
    });
    const times = spaced.map((point, at) => point?.time ?? spaced[at - 1].time + 1);
    return [times, ...this.kind.lines.map((line) => spaced.map((point) => point && line(point)))];
  }

  describe(points) {
    const ranges = this.kind.lines.map((line) => {
      const values = points.map(line);
      const least = this.written(Math.min(...values));
      const most = this.written(Math.max(...values));
      return least === most ? `steady at ${most}` : `between ${least} and ${most}`;
    });
    return this.named(ranges);
  }

  /** Join the texts of all lines, each with the line's name. A single line has no name. */
  named(texts) {
    const { names } = this.kind;
    return texts.map((text, at) => (names ? `${names[at]} ${text}` : text)).join(" · ");
  }

  written(value) {
    return `${value.toFixed(this.kind.digits)}${this.kind.unit}`;
  }

  showRange() {
    const { cursor, data } = this.plot;
    const idx = cursor.idx;
    if (idx == null || data[1][idx] == null) {
      this.range.textContent = this.rangeText;
      return;
    }
    const values = data.slice(1).map((column) => this.written(column[idx]));
    this.range.textContent = `${clock(data[0][idx])}: ${this.named(values)}`;
  }

  options(width) {
    return {
      width,
      height: HEIGHT,
      padding: [8, 28, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      scales: {
        x: { range: (plot) => xRange(plot.data[0]) },
        y: { range: (_, least, most) => this.yRange(least, most) },
      },
      axes: [
        {
          font: FONT,
          size: 22,
          gap: 6,
          space: 70,
          stroke: () => colour("--muted"),
          grid: { show: false },
          ticks: { show: false },
          incrs: [5, 10, 15, 30, 60],
          values: (_, times, _axis, _space, step) => times.map((time) => clock(time, { seconds: step < 60 })),
        },
        {
          font: FONT,
          size: 46,
          space: 32,
          stroke: () => colour("--muted"),
          grid: { stroke: () => colour("--line"), width: 1 },
          ticks: { show: false },
          ...(this.kind.digits ? {} : { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }),
        },
      ],
      series: [{}, ...this.kind.lines.map((_, at) => line(at))],
      hooks: { setCursor: [() => this.plot && this.showRange()] },
    };
  }

  yRange(least, most) {
    const { span, floats } = this.kind;
    if (least == null) return [0, span];
    if (!floats) return [0, Math.max(span, most * 1.15)];
    const room = Math.max(span, (most - least) * 1.4) / 2;
    const middle = (least + most) / 2;
    return [Math.max(0, middle - room), middle + room];
  }
}

function line(at) {
  return {
    stroke: () => colour(`--series-${at + 1}`),
    width: 2,
    // Lines must differ by more than their colour.
    dash: at ? [6, 5] : undefined,
    fill: at ? undefined : () => colour("--series-1-soft"),
    // A single point makes no line.
    points: { show: (plot) => plot.data[0].length === 1, size: 6 },
  };
}

function xRange(times) {
  const end = times.at(-1) ?? Date.now() / 1000;
  const begin = Math.min(times[0] ?? end, end - LEAST_SECONDS);
  return [Math.max(begin, end - MOST_SECONDS), end];
}

function clock(time, { seconds = true } = {}) {
  const second = seconds ? "2-digit" : undefined;
  const parts = { hour: "2-digit", minute: "2-digit", second, hour12: false };
  return new Date(time * 1000).toLocaleTimeString([], parts);
}
