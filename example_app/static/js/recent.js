// The figures of the server for the last minutes, in order.

// Three minutes, with new figures every two seconds.
const MOST = 90;

export class Recent {
  /** Begin with the figures that are in the page. */
  constructor(figures) {
    this.points = [figures];
  }

  get last() {
    return this.points.at(-1);
  }

  /** Add figures. Those of the stream's state may be older than those of the page. */
  add(figures) {
    // After a reset, the state comes again. Several workers may tell of the same moment.
    if (this.points.some(({ time }) => time === figures.time)) return;
    this.points.push(figures);
    this.points.sort((one, other) => one.time - other.time);
    if (this.points.length > MOST) this.points.shift();
  }
}
