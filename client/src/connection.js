// One connection to a stream, which comes back by itself. Knows HTTP, time and the wire
// format; neither handlers nor other tabs.

import { createParser } from "eventsource-parser";
import { FIRST_DELAY, delayAfter } from "./backoff.js";
import { StreamError, errorOf } from "./errors.js";
import { Watchdog } from "./watchdog.js";

// An answer may take so many seconds, its first byte included.
const ANSWER_SECONDS = 30;

// Nothing for so many heartbeats means that the connection is dead.
export const MISSED_HEARTBEATS = 2.5;

// An event of more characters than this is no event; the server's limit is lower.
const LONGEST_EVENT = 2 ** 25;

// What a look at the page or a better network may put right. Others asked us to wait.
const WORTH_A_TRY = ["network", "silent", "ticket"];

/**
 * What says with which ticket to ask; to say none ends the stream.
 *
 * @typedef {() => string | null | undefined | Promise<string | null | undefined>} Ticket
 */

/**
 * An event as it came.
 *
 * @typedef {{type: string, text: string, id: string}} RawEvent
 *
 * @typedef {"connecting" | "open" | "reconnecting" | "closed"} State
 *
 * @typedef {object} Listener what a connection tells
 * @property {(event: RawEvent, before: string) => void} onEvent each event, and the id
 *   that came before it
 * @property {(state: State, error: StreamError | null) => void} onState
 *
 * @typedef {object} RequestOptions how to ask for the stream
 * @property {string} [method]
 * @property {Record<string, string>} [headers]
 * @property {BodyInit} [body] sent again at each attempt, so it cannot be a stream
 * @property {RequestCredentials} [credentials]
 * @property {Ticket} [ticket] asked before each attempt
 * @property {number} [heartbeat] seconds, where `connected` does not say them
 */

export class Connection {
  /** @type {AbortController | undefined} */
  #run;
  #watchdog = new Watchdog(() =>
    this.#attempt?.abort(new StreamError("silent", "nothing was heard for too long")),
  );
  /** @type {AbortController | undefined} */
  #attempt;
  /** @type {((value: any) => void) | undefined} */
  #hurry;
  #retry = FIRST_DELAY;
  // Whether the last attempt has brought an event.
  #answered = false;
  #url;
  #options;
  #listener;

  /**
   * @param {URL} url without what is added here: the client's id, the ticket
   * @param {RequestOptions} options
   * @param {Listener} listener
   * @param {{clientId?: string, lastEventId: string}} from who comes, and its cursor
   */
  constructor(url, options, listener, { clientId, lastEventId }) {
    this.#url = url;
    this.#options = options;
    this.#listener = listener;
    this.clientId = clientId;
    this.lastEventId = lastEventId;
  }

  /** Connect, now, whatever was going on. */
  start() {
    const again = this.#run !== undefined;
    this.stop();
    this.#run = new AbortController();
    this.#keepConnected(this.#run.signal, again ? "reconnecting" : "connecting");
  }

  stop() {
    this.#run?.abort();
    this.#watchdog.stop();
  }

  /** The network is back, and perhaps another one: what was open may be dead. */
  renew() {
    if (this.#run && !this.#run.signal.aborted) this.start();
  }

  /**
   * Make sure that it works, now that there is reason to: the page was woken or looked at.
   */
  check() {
    this.#watchdog.check();
    this.#hurry?.(null);
  }

  /**
   * @param {AbortSignal} run
   * @param {State} state
   */
  async #keepConnected(run, state) {
    // Whoever stops at once, as React's StrictMode does, has asked nothing of the server.
    await null;
    /** @type {StreamError | null} */
    let error = null;
    let failures = 0;
    while (!run.aborted) {
      this.#listener.onState(state, error);
      // Whoever was told may have stopped it, or have started another one.
      if (run.aborted) return;
      state = "reconnecting";
      const attempt = (this.#attempt = new AbortController());
      run.onabort = () => attempt.abort();
      try {
        await this.#connect(attempt.signal);
        error = null;
      } catch (cause) {
        error = errorFrom(attempt.signal.aborted ? attempt.signal.reason : cause);
      }
      // What is not read to its end keeps one of the browser's few connections.
      attempt.abort();
      // By now the watchdog may watch over the next run.
      if (run.aborted) return;
      this.#watchdog.stop();
      if (error?.final) return this.#listener.onState("closed", error);
      failures = this.#answered ? 0 : failures + 1;
      this.#listener.onState(state, error);
      const delay = delayAfter({
        retry: this.#retry,
        failures,
        retryAfter: error?.retryAfter,
        chance: Math.random(),
      });
      // Whoever was told may have stopped it.
      if (run.aborted) return;
      await this.#wait(delay, run, WORTH_A_TRY.includes(error?.reason ?? ""));
    }
  }

  /**
   * @param {number} seconds
   * @param {AbortSignal} run
   * @param {boolean} mayHurry
   */
  async #wait(seconds, run, mayHurry) {
    let timer;
    await new Promise((resolve) => {
      timer = setTimeout(resolve, seconds * 1000);
      run.onabort = resolve;
      if (mayHurry) this.#hurry = resolve;
    });
    clearTimeout(timer);
  }

  /**
   * Read the stream from one request. Returns where it ends, and throws StreamError where
   * there is none.
   *
   * @param {AbortSignal} signal
   */
  async #connect(signal) {
    this.#answered = false;
    this.#hurry = undefined;
    this.#watchdog.expect(ANSWER_SECONDS);
    const url = await orAborted(this.#address(), signal);
    const { method, headers, body, credentials } = this.#options;
    const response = await fetch(url, {
      method,
      body,
      credentials,
      signal,
      cache: "no-store",
      headers: {
        Accept: "text/event-stream",
        Prefer: "sse-status",
        ...(this.lastEventId && { "Last-Event-ID": asHeader(this.lastEventId) }),
        ...headers,
      },
    });
    const error = errorOf(response, Date.now());
    if (error) throw error;
    const parser = createParser({
      onEvent: ({ event: type = "message", data: text, id }) => {
        if (signal.aborted) return;
        if (!this.#answered) {
          this.#answered = true;
          this.#expectHeartbeats(
            type === "connected" ? jsonOf(text)?.heartbeat : undefined,
          );
        }
        this.#take({ type, text, id: id ?? this.lastEventId });
      },
      onRetry: (milliseconds) => (this.#retry = milliseconds / 1000),
      maxBufferSize: LONGEST_EVENT,
    });
    const decoder = new TextDecoder();
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      this.#watchdog.heard();
      parser.feed(decoder.decode(value, { stream: true }));
    }
  }

  /** @param {RawEvent} event */
  #take(event) {
    const before = this.lastEventId;
    if (event.type === "connected") {
      const greeting = jsonOf(event.text);
      this.clientId = greeting?.client_id ?? this.clientId;
      // Where history does not reach back a reset follows. Until it is here, the old
      // cursor stays: a connection that drops in between must be told once more.
      if (!before || greeting?.resumed) this.lastEventId = event.id;
    } else {
      this.lastEventId = event.id;
    }
    this.#listener.onState("open", null);
    this.#listener.onEvent(event, before);
  }

  /** @param {number} [seconds] between them, as the server says */
  #expectHeartbeats(seconds = this.#options.heartbeat) {
    this.#watchdog.expect(seconds ? seconds * MISSED_HEARTBEATS : Infinity);
  }

  async #address() {
    const url = new URL(this.#url);
    if (this.clientId) url.searchParams.set("client_id", this.clientId);
    if (this.#options.ticket)
      url.searchParams.set("ticket", await ticketFrom(this.#options.ticket));
    return url;
  }
}

/** @param {Ticket} ask */
async function ticketFrom(ask) {
  let ticket;
  try {
    ticket = await ask();
  } catch (cause) {
    throw new StreamError("ticket", `no ticket: ${cause}`);
  }
  if (ticket) return ticket;
  throw new StreamError("unauthorized", "there is no ticket", { final: true });
}

/**
 * @param {unknown} cause
 * @returns {StreamError}
 */
function errorFrom(cause) {
  return cause instanceof StreamError ? cause : new StreamError("network", String(cause));
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
function orAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    promise.then(resolve, reject);
  });
}

/**
 * Return a header's value whose bytes are a text in UTF-8, as an EventSource sends them.
 *
 * @param {string} text
 */
function asHeader(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/**
 * Return what a text is as JSON, undefined if it is none.
 *
 * @param {string} text
 */
export function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
