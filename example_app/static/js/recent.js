// The figures of one worker for the last minutes, in order.

// Three minutes, with new figures every two seconds.
const MOST = 90;

export class Recent {
  constructor(state) {
    this.begin(state);
  }

  /** Begin with the server's figures: {current, recent}. */
  begin({ current, recent }) {
    this.points = recent.slice(-MOST);
    this.add(current);
  }

  get last() {
    return this.points.at(-1);
  }

  /** Add figures and return true, unless they are not newer than the last ones. */
  add(figures) {
    // Figures of another worker do not continue these, so the list starts again.
    if (this.last && this.last.worker !== figures.worker) this.points = [];
    // Figures that were published just before the page was made are already in it.
    if (this.last && figures.time <= this.last.time) return false;
    this.points.push(figures);
    if (this.points.length > MOST) this.points.shift();
    return true;
  }
}
