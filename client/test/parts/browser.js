// A browser with many tabs in one process: broadcast channels, locks and timers.
//
// Everything that one part sends to another waits in a queue until the test delivers it.
// Each pair of tabs has a queue. Each tab also has one for its locks and one for its
// network. The order within a queue is kept. The test chooses the next queue, as a browser
// would.

import { AsyncLocalStorage } from "node:async_hooks";
import { Clock, settle } from "./clock.js";

// The tab whose code is running.
const running = new AsyncLocalStorage();

class TabClock extends Clock {
  owned(callback) {
    const tab = running.getStore();
    return () => tab.wake(callback);
  }
}

class Tab {
  isFrozen = false;
  isGone = false;
  #late = new Set();

  constructor(name) {
    this.name = name;
  }

  /** Run a callback, and everything that it starts, as code of this tab. */
  run(callback) {
    return running.run(this, callback);
  }

  /** Run a timer's callback now, or when the tab has woken up. */
  wake(callback) {
    if (this.isGone) return;
    if (this.isFrozen) this.#late.add(callback);
    else this.run(callback);
  }

  async thaw() {
    this.isFrozen = false;
    const late = [...this.#late];
    this.#late.clear();
    for (const callback of late) this.wake(callback);
    await settle();
  }
}

export class Browser {
  clock = new TabClock();
  tabs = [];
  channels = new Set();
  #queues = new Map();
  #locks = new Map();

  constructor() {
    const locks = {
      request: (...args) => this.#request(...args),
      query: async () => ({
        held: [...this.#locks.values()].flatMap(({ held }) => held ?? []),
      }),
    };
    Object.defineProperty(globalThis, "navigator", {
      value: { locks },
      configurable: true,
    });
    const browser = this;
    Object.assign(globalThis, {
      origin: "https://example.org",
      BroadcastChannel: class extends Channel {
        constructor(name) {
          super(name, browser);
        }
      },
    });
  }

  /** Open a tab, which runs no code yet. */
  open() {
    const tab = new Tab(`tab ${this.tabs.length + 1}`);
    this.tabs.push(tab);
    return tab;
  }

  /** End a tab as a crash does: its code never runs again, and its locks are released. */
  async crash(tab) {
    tab.isGone = true;
    for (const queue of this.#queues.values()) if (queue.tab === tab) queue.items = [];
    for (const lock of this.#locks.values()) {
      lock.waiting = lock.waiting.filter((each) => each.tab !== tab);
      if (lock.held?.tab === tab) this.#release(lock, lock.held);
    }
    await settle();
  }

  // Deliveries

  /** Queue a callback for a tab, behind the earlier ones from the same sender. */
  send(from, tab, callback) {
    if (tab.isGone) return;
    const way = `${from} to ${tab.name}`;
    if (!this.#queues.has(way)) this.#queues.set(way, { tab, items: [] });
    this.#queues.get(way).items.push(callback);
  }

  /** The queues that can deliver now. */
  get ready() {
    return [...this.#queues.values()].filter(
      ({ tab, items }) => items.length && !tab.isFrozen,
    );
  }

  /** Deliver the first entry of a queue. */
  async deliver({ tab, items }) {
    tab.run(items.shift());
    await settle();
  }

  /** Deliver everything that is queued, and everything that this causes. */
  async deliverAll(choose = (queues) => queues[0]) {
    await settle();
    for (let steps = 0; this.ready.length; steps++) {
      if (steps > 20_000) throw new Error("the tabs never stop talking");
      await this.deliver(choose(this.ready));
    }
  }

  // Locks, as in the Web Locks API

  #request(name, { steal, signal }, callback) {
    const tab = running.getStore();
    if (tab.isGone) return new Promise(() => {});
    if (!this.#locks.has(name)) this.#locks.set(name, { waiting: [] });
    const lock = this.#locks.get(name);
    return new Promise((resolve, reject) => {
      const asked = { name, tab, callback, resolve, reject };
      if (steal) {
        const { held } = lock;
        if (held) this.send("locks", held.tab, () => held.reject(aborted("stolen")));
        this.#grant(lock, asked);
      } else if (signal.aborted) reject(aborted("not wanted"));
      else {
        signal.addEventListener("abort", () => {
          if (!lock.waiting.includes(asked)) return;
          lock.waiting = lock.waiting.filter((each) => each !== asked);
          reject(aborted("not wanted any more"));
        });
        lock.waiting.push(asked);
        if (!lock.held) this.#grant(lock, lock.waiting.shift());
      }
    });
  }

  #grant(lock, asked) {
    lock.held = asked;
    this.send("locks", asked.tab, async () => {
      await asked.callback({ name: asked.name });
      this.#release(lock, asked);
      asked.resolve();
    });
  }

  #release(lock, held) {
    if (lock.held !== held) return;
    lock.held = undefined;
    if (lock.waiting.length) this.#grant(lock, lock.waiting.shift());
  }
}

class Channel {
  #tab = running.getStore();
  #isClosed = false;
  #browser;

  constructor(name, browser) {
    this.name = name;
    this.#browser = browser;
    browser.channels.add(this);
  }

  postMessage(message) {
    if (this.#isClosed) throw new DOMException("it is closed", "InvalidStateError");
    if (this.#tab.isGone) return;
    for (const other of this.#browser.channels) {
      if (other === this || other.name !== this.name) continue;
      const data = structuredClone(message);
      this.#browser.send(this.#tab.name, other.#tab, () => {
        if (!other.#isClosed) other.onmessage?.({ data });
      });
    }
  }

  close() {
    this.#isClosed = true;
    this.#browser.channels.delete(this);
  }
}

function aborted(why) {
  return new DOMException(why, "AbortError");
}

/** The tab whose code is running. */
export const here = () => running.getStore();
