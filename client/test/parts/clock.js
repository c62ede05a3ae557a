// A clock that a test moves by hand. It replaces the global timers and Date.now.

// One turn of the event loop settles pending promises. setImmediate is not replaced.
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Let everything run that needs no time. */
export async function settle() {
  // A chunk of a body needs more than one turn of the event loop until it is read.
  for (let turns = 0; turns < 3; turns++) await turn();
}

export class Clock {
  /** Milliseconds since 1970. */
  now = 1_700_000_000_000;
  #timers = new Map();
  #last = 0;

  /** Replace the real clock. Each test file runs in a process of its own. */
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

  /** Return the callback of a new timer. A browser with many tabs binds it to its tab. */
  owned(callback) {
    return callback;
  }

  /** The number of timers that are set. */
  get pending() {
    return this.#timers.size;
  }

  /** The seconds until the next timer is due, Infinity if there is none. */
  get next() {
    return (Math.min(...[...this.#timers.values()].map(({ at }) => at)) - this.now) / 1000;
  }

  /** Let time pass, and call the timers that become due, in order. */
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

  /** Let time pass without running timers, as when a machine sleeps. */
  sleep(seconds) {
    this.now += seconds * 1000;
  }
}
