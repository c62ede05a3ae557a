// Notices that a stream has gone silent, also while nobody ran timers.

/** Calls back when nothing was heard for too long. */
export class Watchdog {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #seconds = Infinity;
  #heardAt = Date.now();
  #onSilence;

  /** @param {() => void} onSilence called at each look, as long as it is silent */
  constructor(onSilence) {
    this.#onSilence = onSilence;
  }

  /**
   * Take so many seconds without a sign of life for too long, from now on.
   *
   * @param {number} seconds Infinity is never
   */
  expect(seconds) {
    this.stop();
    this.heard();
    if (seconds === Infinity) return;
    this.#seconds = seconds;
    // Timers stand still while a machine sleeps, and the page may not be told that it has
    // slept: a fifth of the time later it is noticed all the same.
    this.#timer = setInterval(() => this.check(), seconds * 200);
  }

  /** Take note of a sign of life. */
  heard() {
    this.#heardAt = Date.now();
  }

  /** Look at once. */
  check() {
    const now = Date.now();
    // A clock that was set back would make the silence last as long.
    this.#heardAt = Math.min(this.#heardAt, now);
    if (now - this.#heardAt > this.#seconds * 1000) this.#onSilence();
  }

  stop() {
    clearInterval(this.#timer);
    this.#seconds = Infinity;
  }
}
