// The figures of the last minutes, of one worker, in order.

// Three minutes, at one every two seconds.
const MOST = 90;

export class Recent {
  constructor(state) {
    this.begin(state);
  }

  /** Begin with what the server knows: {current, recent}. */
  begin({ current, recent }) {
    this.points = recent.slice(-MOST);
    this.add(current);
  }

  get last() {
    return this.points.at(-1);
  }

  /** Add newer figures; tell whether they were. */
  add(figures) {
    // Another worker's are another story: its memory was not this one's a moment ago.
    if (this.last && this.last.worker !== figures.worker) this.points = [];
    // What was published just before the page was made is in the page already.
    if (this.last && figures.time <= this.last.time) return false;
    this.points.push(figures);
    if (this.points.length > MOST) this.points.shift();
    return true;
  }
}
