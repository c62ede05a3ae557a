// A clock that is moved by hand: the timers and Date.now of whatever is tested.

// What settles the promises that are on their way; it is not one of the replaced timers.
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Let everything happen that needs no time. */
export async function settle() {
  // A body's chunk passes through more than one turn of the loop until it is read.
  for (let turns = 0; turns < 3; turns++) await turn();
}

export class Clock {
  /** Milliseconds since 1970. */
  now = 1_700_000_000_000;
  #timers = new Map();
  #last = 0;

  /** Put it in the place of the real one; each file of tests is a process of its own. */
  constructor() {
    const add = (callback, milliseconds = 0, every) => {
      const at = this.now + milliseconds;
      this.#timers.set(++this.#last, { at, callback: this.owned(callback), every });
      return this.#last;
    };
    globalThis.setTimeout = (callback, milliseconds) => add(callback, milliseconds);
    globalThis.setInterval = (callback, milliseconds) =>
      add(callback, milliseconds, milliseconds);
    globalThis.clearTimeout = globalThis.clearInterval = (id) => this.#timers.delete(id);
    Date.now = () => this.now;
  }

  /** What a timer calls in the end; a browser of many tabs knows whose it is. */
  owned(callback) {
    return callback;
  }

  /** How many timers are set. */
  get pending() {
    return this.#timers.size;
  }

  /** The seconds until the next timer is due, Infinity without one. */
  get next() {
    return (Math.min(...[...this.#timers.values()].map(({ at }) => at)) - this.now) / 1000;
  }

  /** Let time pass, and all happen that is due meanwhile, in its order. */
  async advance(seconds) {
    await settle();
    const end = this.now + seconds * 1000;
    while (this.now + this.next * 1000 <= end) {
      this.now += this.next * 1000;
      for (const [id, timer] of [...this.#timers]) {
        if (timer.at > this.now || !this.#timers.has(id)) continue;
        if (timer.every === undefined) this.#timers.delete(id);
        else timer.at += timer.every;
        timer.callback();
      }
      await settle();
    }
    this.now = end;
  }

  /** Let time pass while nothing runs, as when a machine sleeps. */
  sleep(seconds) {
    this.now += seconds * 1000;
  }
}
