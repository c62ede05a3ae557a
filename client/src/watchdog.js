// Notices that a stream has become silent, even if no timers ran meanwhile.

/** Calls back when there was no sign of life for too long. */
export class Watchdog {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #seconds = Infinity;
  #heardAt = Date.now();
  #onSilence;

  /** @param {() => void} onSilence called at each check during a silence */
  constructor(onSilence) {
    this.#onSilence = onSilence;
  }

  /**
   * Start to watch: more than `seconds` without a sign of life are too long.
   *
   * @param {number} seconds Infinity ends the watch
   */
  expect(seconds) {
    this.stop();
    this.heard();
    if (seconds === Infinity) return;
    this.#seconds = seconds;
    // Timers stand still while a machine sleeps, and no event may tell the page of it. The
    // check every fifth of the time notices the silence soon after the machine wakes up.
    this.#timer = setInterval(() => this.check(), seconds * 200);
  }

  /** Note a sign of life. */
  heard() {
    this.#heardAt = Date.now();
  }

  /** Check for silence now. */
  check() {
    const now = Date.now();
    // Without this, a clock that is set back would prolong the silence by that time.
    this.#heardAt = Math.min(this.#heardAt, now);
    if (now - this.#heardAt > this.#seconds * 1000) this.#onSilence();
  }

  stop() {
    clearInterval(this.#timer);
    this.#seconds = Infinity;
  }
}
