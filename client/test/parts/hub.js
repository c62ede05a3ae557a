// A hub with one log, which streams to the tabs of a browser.

import { here } from "./browser.js";
import { block, connected } from "./server.js";

const HEARTBEAT = 15;

/**
 * The log is a list of places: an id each, and a text if the event is for these tabs. An
 * event goes to the channels in `to`, without them to all.
 */
export class Hub {
  log = [];
  streams = new Set();
  /** The statuses of the next responses, all of them refusals. */
  refusals = [];
  requests = 0;
  /** The channels that are refused, and those that a view of the app adds. */
  forbidden = [];
  added = [];
  /** Whether its channels have other names than those in URLs. */
  renames = false;
  /** Whether it names the channels in events with several targets. */
  names = true;
  #epochs = 0;
  #kept = 0;
  #offset = 0;
  #browser;

  /** Replace fetch. Responses arrive when the browser delivers them. */
  constructor(browser) {
    this.#browser = browser;
    this.#begin();
    globalThis.fetch = (url, init) => this.#answer(here(), new URL(url), init);
  }

  get newest() {
    return this.log.at(-1).id;
  }

  /** The number of connections of tabs that still exist. */
  get connections() {
    return [...this.streams].filter(({ tab }) => !tab.isGone).length;
  }

  place(id) {
    return this.log.findIndex((each) => each.id === id);
  }

  publish(text = `${this.log.length}`, to = undefined) {
    this.#append(text, to);
    for (const stream of this.streams) this.#goOn(stream);
  }

  /** Publish an event that is not for these tabs. */
  publishToOthers() {
    this.#append();
  }

  ping() {
    for (const stream of this.streams) {
      stream.write(block({ ts: 1 }, { type: "ping", id: this.newest }));
      stream.at = this.log.length - 1;
    }
  }

  /** End all connections, as a worker that is stopped; with `hard`, as one that crashes. */
  cut({ hard = false } = {}) {
    for (const stream of this.streams) stream.end(hard);
  }

  /** Remove the events before a place from history. */
  forget(place) {
    this.#kept = Math.max(this.#kept, place);
  }

  /** Lose the whole log. Open streams are dropped, or receive a reset if `tells` is set. */
  restart({ tells = false } = {}) {
    this.#begin();
    this.forget(this.log.length - 1);
    if (!tells) return this.cut();
    for (const stream of this.streams) {
      stream.write(this.#reset("epoch"));
      stream.at = this.log.length - 1;
    }
  }

  #begin() {
    this.#offset = -1;
    this.#epochs++;
    this.#append();
  }

  #append(text, to) {
    this.#offset++;
    this.log.push({ id: `e${this.#epochs}-${this.#offset}`, text, to });
  }

  #reset(reason) {
    return block({ reason }, { type: "reset", id: this.newest });
  }

  #goOn(stream) {
    for (; stream.at < this.log.length - 1; stream.at++) {
      const { id, text, to = [] } = this.log[stream.at + 1];
      const own = to.filter((name) => heard(name, stream.channels));
      if (text === undefined || own.length < Math.min(to.length, 1)) continue;
      const channels = stream.names || to.length === 1 ? own : [];
      stream.write(block(text, { id, channels }));
    }
  }

  #answer(tab, { searchParams }, { headers, signal }) {
    this.requests++;
    const channels = searchParams.getAll("channel");
    const arrive = (callback) => this.#browser.send("network", tab, callback);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      if (this.refusals.length) {
        const response = new Response("", { status: this.refusals.shift() });
        return arrive(() => resolve(response));
      }
      if (channels.some((name) => this.forbidden.includes(name)))
        return arrive(() => resolve(new Response("", { status: 403 })));
      const stream = this.#stream(tab, arrive, signal);
      const own = this.renames ? channels.map((name) => `room.${name}`) : channels;
      stream.channels = [...own, ...this.added];
      stream.names = this.names && searchParams.has("names_channels");
      const asked = new Headers(headers).get("Last-Event-ID");
      const place = asked === null ? -1 : this.place(asked);
      const resumed = place >= this.#kept;
      arrive(() => resolve(stream.response));
      stream.at = resumed ? place : this.log.length - 1;
      const more = {
        resumed,
        heartbeat: HEARTBEAT,
        channels: stream.channels,
        ...(stream.names && { names_channels: true }),
      };
      stream.write(connected(this.log[stream.at].id, more));
      if (asked !== null && !resumed) stream.write(this.#reset("expired"));
      this.#goOn(stream);
    });
  }

  #stream(tab, arrive, signal) {
    const stream = { tab, at: 0 };
    let body;
    let isOver = false;
    const source = new ReadableStream({ start: (controller) => (body = controller) });
    const headers = { "Content-Type": "text/event-stream" };
    stream.response = new Response(source, { headers });
    stream.write = (text) =>
      arrive(() => isOver || body.enqueue(new TextEncoder().encode(text)));
    stream.end = (hard) => {
      this.streams.delete(stream);
      arrive(() => {
        if (isOver) return;
        isOver = true;
        if (hard) body.error(new TypeError("the connection is gone"));
        else body.close();
      });
    };
    signal.addEventListener("abort", () => {
      this.streams.delete(stream);
      if (!isOver) body.error(signal.reason);
      isOver = true;
    });
    this.streams.add(stream);
    return stream;
  }
}

/** Tell whether channels and patterns have a channel. */
export function heard(name, channels) {
  return channels.some((each) =>
    each.endsWith(".*") ? name.startsWith(each.slice(0, -1)) : name === each,
  );
}
