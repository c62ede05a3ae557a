// One connection to a stream, which reconnects by itself. Knows HTTP, time and the wire
// format. Does not know handlers or other tabs.

import { FIRST_DELAY, delayAfter } from "./backoff.js";
import { StreamError, errorOf, unreachable } from "./errors.js";
import { jsonOf } from "./json.js";
import { parser } from "./parser.js";
import { Watchdog } from "./watchdog.js";

// The seconds from a request to the first byte of its stream.
const ANSWER_SECONDS = 30;

// A connection without a byte for this many heartbeats is dead.
export const MISSED_HEARTBEATS = 2.5;

// Firefox and WebKit cut the requests of a page when a navigation begins, also when it turns
// out to be a download, and the page stays. A cut comes within this many seconds.
const LEAVING_SECONDS = 1;

// After these errors, a user who looks at the page is a reason to try again at once. After
// other errors the server has asked the client to wait.
const WORTH_A_TRY = /network|silent|ticket/;

// The data of the reset before a state that begins again.
const INTERRUPTED = '{"reason":"interrupted","state":true}';

/** @import { RequestOptions, State, Ticket } from "./types.js" */

/**
 * An event as the server sent it.
 *
 * @typedef {import("./parser.js").Block & {id: string, state?: boolean}} RawEvent
 *
 * @typedef {object} Listener the callbacks of a connection
 * @property {(event: RawEvent, before: string) => void} onEvent called with each event, and
 *   with the id that was current before it
 * @property {(state: State, error: StreamError | null) => void} onState
 */

export class Connection {
  /** @type {AbortController | undefined} */
  #run;
  #watchdog = new Watchdog(() =>
    this.#attempt?.abort(new StreamError("silent", "nothing was heard in time")),
  );
  /** @type {AbortController | undefined} */
  #attempt;
  /** @type {((value: any) => void) | undefined} */
  #hurry;
  #retry = FIRST_DELAY;
  // Whether the last attempt has received an event.
  #answered = false;
  #leftAt = 0;
  // Whether the next request is one that navigations do not cut. It is that only after such
  // a cut, because browsers limit the number of such requests, and Chromium cuts none.
  #keepalive = false;
  // Whether the page has values of a state that it has not received as a whole.
  #hasValues = false;
  #url;
  #options;
  #listener;

  /**
   * @param {URL} url without the client's id and the ticket, which are added here
   * @param {RequestOptions} options
   * @param {Listener} listener
   * @param {{clientId?: string, lastEventId: string}} from the client's id and its cursor
   */
  constructor(url, options, listener, { clientId, lastEventId }) {
    this.#url = url;
    this.#options = options;
    this.#listener = listener;
    this.clientId = clientId;
    this.lastEventId = lastEventId;
  }

  /** Connect at once. An open connection, or an attempt under way, is given up. */
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

  /**
   * Connect again, because the network is back. It may be another network, and the open
   * connection dead.
   */
  renew() {
    if (this.#run && !this.#run.signal.aborted) this.start();
  }

  /** Check the connection, because the page has woken up or is visible again. */
  check() {
    this.#watchdog.check();
    this.#hurry?.(null);
  }

  /** Note that the page begins to leave. It may stay, if the navigation is a download. */
  leave() {
    this.#leftAt = Date.now();
  }

  /**
   * Add channels, or leave them. Throws StreamError if the server refuses.
   *
   * @param {{subscribe?: string[], unsubscribe?: string[], since?: string}} change
   */
  async listen(change) {
    const { origin, pathname } = this.#url;
    const response = await this.#send(
      origin + pathname + "/subscriptions",
      { method: "POST", body: JSON.stringify({ ...change, client_id: this.clientId }) },
      { "Content-Type": "application/json" },
    );
    if (!response.ok) throw await errorOf(response);
  }

  /**
   * Send a request with the options of the page.
   *
   * @param {URL | string} url
   * @param {RequestInit} request
   * @param {Record<string, string>} sent headers, which those of the page replace
   */
  #send(url, request, sent) {
    const { headers, credentials } = this.#options;
    const all = new Headers(sent);
    new Headers(headers).forEach((value, name) => all.set(name, value));
    return fetch(url, { credentials, headers: all, ...request });
  }

  /**
   * @param {AbortSignal} run
   * @param {State} state
   */
  async #keepConnected(run, state) {
    // A stop in the same turn, as in React's StrictMode, then sends no request.
    await null;
    /** @type {StreamError | null} */
    let error = null;
    let failures = 0;
    let isCut = false;
    while (!run.aborted) {
      // A cut is not told: the stream is back within milliseconds.
      if (!isCut) this.#listener.onState(state, error);
      // The listener may have stopped this run, or started another one.
      if (run.aborted) return;
      state = "reconnecting";
      const attempt = (this.#attempt = new AbortController());
      run.onabort = () => attempt.abort();
      try {
        await this.#connect(attempt.signal);
        error = null;
      } catch (cause) {
        error = errorFrom(cause, attempt.signal);
      }
      // A response that is not read to its end occupies one of the browser's few
      // connections.
      attempt.abort();
      // The watchdog may already belong to the next run.
      if (run.aborted) return;
      this.#watchdog.stop();
      if (error?.final) return this.#listener.onState("closed", error);
      // The error may also be that of a ticket. WebKit ends some requests that it cuts as if
      // the server had ended them.
      isCut =
        (!isCut || this.#answered) &&
        !error?.status &&
        Date.now() - this.#leftAt < LEAVING_SECONDS * 1000;
      this.#keepalive = isCut || (this.#keepalive && this.#answered);
      if (isCut) continue;
      failures = this.#answered ? 0 : failures + 1;
      this.#listener.onState(state, error);
      const delay = delayAfter({
        retry: this.#retry,
        failures,
        retryAfter: error?.retryAfter,
        chance: Math.random(),
      });
      // The listener may have stopped this run.
      if (run.aborted) return;
      await this.#wait(delay, run, WORTH_A_TRY.test(error?.reason ?? ""));
    }
  }

  /**
   * @param {number} seconds
   * @param {AbortSignal} run
   * @param {boolean} mayHurry
   */
  async #wait(seconds, run, mayHurry) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      run.onabort = () => {
        clearTimeout(timer);
        resolve(null);
      };
      if (mayHurry) this.#hurry = run.onabort;
    });
  }

  /**
   * Send one request and read its stream. Returns when the stream ends, and throws
   * StreamError if the response is not a stream.
   *
   * @param {AbortSignal} signal
   */
  async #connect(signal) {
    this.#answered = false;
    this.#hurry = undefined;
    this.#watchdog.expect(ANSWER_SECONDS);
    const url = await orAborted(this.#address(), signal);
    const { method, body } = this.#options;
    const response = await this.#send(
      url,
      { method, body, signal, cache: "no-store", keepalive: this.#keepalive },
      {
        Accept: "text/event-stream",
        Prefer: "sse-status",
        ...(this.lastEventId && { "Last-Event-ID": asHeader(this.lastEventId) }),
      },
    ).catch((cause) => unreachable(url, cause, signal));
    const error = await errorOf(response);
    if (error) throw error;
    const feed = parser({
      onEvent: (event) => {
        if (signal.aborted) return;
        if (!this.#answered) this.#expectHeartbeats();
        this.#answered = true;
        // Values of the state, and earlier events, have no id: the cursor stays.
        this.#take({ id: this.lastEventId, state: !event.id && !event.earlier, ...event });
      },
      onId: (id) => (this.lastEventId = id),
      onRetry: (milliseconds) => (this.#retry = milliseconds / 1000),
    });
    const decoder = new TextDecoder();
    const reader = response.body?.getReader();
    if (!reader)
      throw new StreamError("not-a-stream", "there is no body", {
        final: true,
      });
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) break;
      this.#watchdog.heard();
      feed(decoder.decode(value, { stream: true }));
    }
    // A proxy answers so for a server that is away: an EventSource comes back after it.
    if (!this.#answered)
      throw new StreamError("unavailable", "the stream ended before its first event");
  }

  /** @param {RawEvent} event */
  #take(event) {
    const before = this.lastEventId;
    const isNew = event.type === "connected" && !event.id;
    if (event.type === "connected") {
      const greeting = jsonOf(event.text);
      this.#expectHeartbeats(greeting?.heartbeat);
      this.clientId = greeting?.client_id ?? this.clientId;
      // If history does not reach back, a reset follows. The old cursor stays until then:
      // if the connection drops in between, the server must send the reset again.
      if (!before || greeting?.resumed) this.lastEventId = event.id;
    } else this.lastEventId = event.id;
    if (event.type === "subscribed") {
      // The stream resumes with these channels.
      const { searchParams } = this.#url;
      searchParams.delete("channel");
      for (const name of jsonOf(event.text)?.channels ?? [])
        searchParams.append("channel", name);
    }
    this.#listener.onState("open", null);
    this.#listener.onEvent(event, before);
    // The state begins again, and lacks the values that have ended meanwhile.
    if (isNew && this.#hasValues)
      this.#listener.onEvent({ id: "", type: "reset", text: INTERRUPTED }, "");
    this.#hasValues = !isNew && !event.id;
  }

  /** @param {number} [seconds] between two heartbeats, as the server says */
  #expectHeartbeats(seconds = this.#options.heartbeat) {
    this.#watchdog.expect(seconds ? seconds * MISSED_HEARTBEATS : Infinity);
  }

  async #address() {
    const url = new URL(this.#url);
    if (this.clientId) url.searchParams.set("client_id", this.clientId);
    if (this.#options.state) url.searchParams.set("state", "1");
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
  if (!ticket) throw new StreamError("unauthorized", "there is no ticket", { final: true });
  return ticket;
}

/**
 * Return the error of an attempt that failed or was aborted.
 *
 * @param {unknown} cause
 * @param {AbortSignal} signal
 * @returns {StreamError}
 */
function errorFrom(cause, { reason }) {
  // The cause comes first: a refusal whose body never ends is still a refusal.
  for (const each of [cause, reason]) if (each instanceof StreamError) return each;
  return new StreamError("network", String(cause));
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
 * Return a text as a header value: its UTF-8 bytes, as an EventSource sends them.
 *
 * @param {string} text
 */
function asHeader(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
