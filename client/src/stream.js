// A stream as a page sees it: handlers, state, the last event. Where its events come from,
// a connection of its own or one that all tabs share, is not its business.

import { Connection, jsonOf } from "./connection.js";
import { StreamError } from "./errors.js";
import { isHidden, watchPage } from "./page.js";
import { SharedConnection, whyNotShared } from "./shared.js";

// A look at another tab shall not cost a reconnect.
const HIDDEN_SECONDS = 10;

// What the hub says of itself.
const OWN_TYPES = ["connected", "ping", "reset"];

// An iteration that is so many events behind will not catch up, and events take memory.
const MOST_WAITING = 10_000;

/**
 * An event as handlers get it: `data` is parsed where `text` is JSON, otherwise the text.
 *
 * @typedef {{type: string, data: any, text: string, id: string}} StreamEvent
 *
 * @typedef {(data: any, event: StreamEvent) => void} Handler
 *
 * @typedef {object} Sharing with whom the connection is shared
 * @property {"alone" | "leader" | "follower"} role the leader has the connection
 * @property {string | null} problem why it is not shared though it was asked for
 * @property {string[]} apart addresses of streams that other tabs have of their own, as
 *   they listen to other channels
 *
 * @typedef {object} StreamOptions what a stream needs beside its address
 * @property {Record<string, Handler>} [on] handlers by event type; `"*"` is every event
 * @property {(stream: EventStream) => void} [onState] called when the state has changed
 * @property {(reset: {reason: string}) => void} [onReset] history does not reach back to
 *   what the page has seen: it has to load its state anew
 * @property {string} [lastEventId] the cursor to begin after, as `sse_hub.cursor()` said
 * @property {string} [clientId] what `sse_hub.client_id()` said
 * @property {string | number | null} [userId] who was logged in when the page was rendered
 * @property {boolean} [shared] whether all tabs share one connection
 * @property {boolean | number} [pauseWhenHidden] whether nothing is asked for while nobody
 *   sees the page; a number is the seconds after which that begins
 *
 * @typedef {StreamOptions & import("./connection.js").RequestOptions} Options
 */

export class EventStream {
  /** @type {import("./connection.js").State} */
  state = "connecting";
  /** Why it is not open, null while it is or was never asked. @type {StreamError | null} */
  error = null;
  /** The last event of the app. @type {StreamEvent | null} */
  lastEvent = null;
  /** The id that the server knows the stream by. @type {string | undefined} */
  clientId;
  /** Who is logged in, null for nobody. @type {string | null} */
  userId = null;

  /** @type {Map<string, Set<Handler>>} */
  #handlers = new Map();
  /** @type {Set<(stream: EventStream) => void>} */
  #stateHandlers = new Set();
  // Whether it is known who is logged in.
  #knowsUser = false;
  #closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;
  #connection;
  #problem;
  #forgetPage;
  #pauseAfter;

  /**
   * @param {URL} url
   * @param {Options} options
   */
  constructor(url, options) {
    const {
      on = {},
      onState,
      onReset,
      clientId,
      lastEventId = "",
      userId = null,
    } = options;
    for (const [type, handler] of Object.entries(on)) this.on(type, handler);
    if (onReset) this.on("reset", onReset);
    if (onState) this.onState(onState);
    this.clientId = clientId;
    // A page may say it as the number that it is in the database.
    this.userId = userId === null ? null : String(userId);
    this.#knowsUser = userId !== null;
    this.#problem = options.shared ? whyNotShared(options) : null;
    const Way = options.shared && !this.#problem ? SharedConnection : Connection;
    if (this.#problem)
      console.info(`sse-hub: not shared with other tabs: ${this.#problem}`);
    this.#connection = new Way(
      url,
      options,
      {
        onEvent: (event) => this.#take(event),
        onState: (state, error) => this.#become(state, error),
      },
      { clientId, lastEventId },
    );
    this.#pauseAfter =
      options.pauseWhenHidden === true ? HIDDEN_SECONDS : options.pauseWhenHidden;
    this.#forgetPage = watchPage((event) => this.#followPage(event));
    this.#connection.start();
    this.#pauseOrGoOn();
  }

  /** The id of the last event, with which the stream would resume. */
  get lastEventId() {
    return this.#connection.lastEventId;
  }

  /** @returns {Sharing} */
  get sharing() {
    return this.#connection instanceof SharedConnection
      ? this.#connection.sharing
      : { role: "alone", problem: this.#problem, apart: [] };
  }

  /**
   * Have events of a type handled, every event for `"*"`. Returns what ends that.
   *
   * @param {string} type
   * @param {Handler} handler
   * @returns {() => void}
   */
  on(type, handler) {
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /**
   * Be told when the state has changed. Returns what ends that.
   *
   * @param {(stream: EventStream) => void} handler
   * @returns {() => void}
   */
  onState(handler) {
    this.#stateHandlers.add(handler);
    return () => this.#stateHandlers.delete(handler);
  }

  /** Connect anew, now; also after an error has ended the stream. */
  reconnect() {
    if (this.#closed) return;
    // Whoever asks for it after somebody else has logged in is content with that.
    this.#knowsUser &&= this.error?.reason !== "user-changed";
    this.#connection.start();
  }

  /** End the stream for good. */
  close() {
    this.#closed = true;
    this.#end(null);
  }

  /**
   * Iterate over the events from now on, until the stream is closed.
   *
   * Throws the StreamError that closes it, and where the loop is too slow by far.
   *
   * @returns {AsyncGenerator<StreamEvent, void, void>}
   */
  async *[Symbol.asyncIterator]() {
    /** @type {StreamEvent[]} */
    const waiting = [];
    let wake = () => {};
    const forget = [
      this.on("*", (_, event) => (waiting.push(event), wake())),
      this.onState(() => wake()),
    ];
    try {
      while (waiting.length || this.state !== "closed") {
        if (waiting.length > MOST_WAITING)
          throw new Error("the loop over the stream is too slow");
        const event = waiting.shift();
        if (event) yield event;
        else await new Promise((resolve) => (wake = () => resolve(null)));
      }
      if (this.error) throw this.error;
    } finally {
      for (const each of forget) each();
    }
  }

  /** @param {import("./connection.js").RawEvent} event */
  #take({ type, text, id }) {
    if (this.#closed) return;
    const parsed = jsonOf(text);
    const data = parsed === undefined ? text : parsed;
    if (type === "connected" && !this.#greet(data)) return;
    const event = { type, data, text, id };
    if (!OWN_TYPES.includes(type)) this.lastEvent = event;
    for (const each of [type, "*"]) {
      for (const handler of this.#handlers.get(each) ?? [])
        guarded(() => handler(data, event));
    }
  }

  /**
   * Take note of who the server says we are. Whoever else has logged in meanwhile shall
   * not have their events shown in this person's page.
   *
   * @param {{client_id?: string, user_id?: string | null}} greeting
   */
  #greet({ client_id, user_id = null }) {
    const isSomebodyElse = this.#knowsUser && user_id !== this.userId;
    if (isSomebodyElse) {
      this.#end(
        new StreamError("user-changed", "somebody else is logged in now", { final: true }),
      );
      return false;
    }
    this.#knowsUser = true;
    this.clientId = client_id;
    this.userId = user_id;
    return true;
  }

  /** @param {StreamError | null} error */
  #end(error) {
    this.#connection.stop();
    if (this.#closed) this.#forgetPage();
    this.#become("closed", error);
  }

  /**
   * @param {import("./connection.js").State} state
   * @param {StreamError | null} error
   */
  #become(state, error) {
    if (state === this.state && error?.message === this.error?.message) return;
    this.state = state;
    this.error = error;
    // What is closed has nothing to pause, and would be open again afterwards.
    if (state === "closed") clearTimeout(this.#pause);
    for (const handler of this.#stateHandlers) guarded(() => handler(this));
  }

  /** @param {Event} event */
  #followPage(event) {
    const { type } = event;
    if (type === "pagehide") this.#connection.stop();
    else if (type === "pageshow") {
      // From the back-forward cache, in which nothing runs.
      if (/** @type {PageTransitionEvent} */ (event).persisted) this.#connection.start();
    } else if (this.state !== "closed") {
      if (type === "online") this.#connection.renew();
      else this.#connection.check();
      this.#pauseOrGoOn();
    }
  }

  #pauseOrGoOn() {
    clearTimeout(this.#pause);
    if (isHidden()) {
      if (!this.#pauseAfter) return;
      this.#pause = setTimeout(() => {
        this.#connection.stop();
        this.#become("reconnecting", new StreamError("hidden", "nobody sees the page"));
      }, this.#pauseAfter * 1000);
    } else if (this.error?.reason === "hidden") this.#connection.start();
  }
}

/**
 * Run a page's handler. Its error is the page's own: it stops neither other handlers nor
 * the stream.
 *
 * @param {() => void} run
 */
function guarded(run) {
  try {
    run();
  } catch (error) {
    reportError(error);
  }
}
