// A stream as a page sees it: handlers, state, the last event. Does not know whether its
// events come from a connection of its own or from one that all tabs share.

import { Connection } from "./connection.js";
import { StreamError } from "./errors.js";
import { jsonOf } from "./json.js";
import { mustBe } from "./options.js";
import { isHidden, watchPage } from "./page.js";
import { SharedConnection, whyNotShared } from "./shared.js";

// The seconds until a hidden page pauses its stream. Otherwise a short look at another tab
// would cost a reconnect.
const HIDDEN_SECONDS = 10;

// The types of the hub's own events.
const OWN_TYPES = ["connected", "ping", "reset"];

// The most events that wait for an iteration. A loop this far behind will not catch up, and
// events take memory.
const MOST_WAITING = 10_000;

/**
 * An event as handlers receive it. `data` is the decoded `text` if that is JSON, otherwise
 * the text itself. `state` tells that it is the value of a key from before the stream began.
 *
 * @typedef {{type: string, data: any, text: string, id: string, state?: boolean}}
 *   StreamEvent
 *
 * @typedef {(data: any, event: StreamEvent) => void} Handler
 *
 * @typedef {object} Sharing how the connection is shared with other tabs
 * @property {"alone" | "leader" | "follower"} role the leader has the connection
 * @property {string | null} problem why the connection is not shared, although `shared` is
 *   set
 * @property {string[]} apart URLs of other streams that this page or another tab had open
 *   when this one was opened, such as those of other channels. Each has a connection of
 *   its own
 *
 * @typedef {object} StreamOptions the options of a stream
 * @property {Record<string, Handler>} [on] handlers by event type; `"*"` stands for all
 *   types
 * @property {(stream: EventStream) => void} [onState] called when the state has changed
 * @property {(reset: {reason: string, state?: boolean}) => void} [onReset] called when
 *   missed events are gone from history: load the page's state again. With `state`, the
 *   newest event of each key follows
 * @property {string} [lastEventId] the cursor after which the stream begins, as returned by
 *   `sse_hub.cursor()`
 * @property {string} [clientId] the client's id, as returned by `sse_hub.client_id()`
 * @property {string | number | null} [userId] the user who was logged in when the page was
 *   rendered
 * @property {boolean} [shared] whether all tabs share one connection
 * @property {boolean | number} [pauseWhenHidden] whether the stream pauses while the page
 *   is hidden; a number is the delay in seconds before it pauses
 *
 * @typedef {StreamOptions & import("./connection.js").RequestOptions} Options
 */

export class EventStream {
  /** @type {import("./connection.js").State} */
  state = "connecting";
  /** The reason why it is not open, null if there is none. @type {StreamError | null} */
  error = null;
  /** The last event of the app. @type {StreamEvent | null} */
  lastEvent = null;
  /** The client's id on the server. @type {string | undefined} */
  clientId;
  /** The user who is logged in, null for nobody. @type {string | null} */
  userId = null;

  /** @type {Map<string, Set<Handler>>} */
  #handlers = new Map();
  /** @type {Set<(stream: EventStream) => void>} */
  #stateHandlers = new Set();
  // Whether `userId` is known, which may also be null.
  #knowsUser = false;
  #closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;
  #connection;
  #problem;
  #forgetPage;
  #pauseAfter;
  #url;

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
    this.#url = url;
    for (const [type, handler] of Object.entries(on)) this.on(type, handler);
    if (onReset) this.on("reset", onReset);
    if (onState) this.onState(onState);
    this.clientId = clientId;
    // A page may write the id as a number, as it is in the database.
    this.userId = userId === null ? null : String(userId);
    this.#knowsUser = userId !== null;
    this.#problem = options.shared ? whyNotShared(options) : null;
    const Way = options.shared && !this.#problem ? SharedConnection : Connection;
    if (this.#problem) console.info(`sse-hub: not shared: ${this.#problem}`);
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

  /** The id of the last event. The stream resumes with it. */
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
   * Call a handler with each event of a type, or with every event for `"*"`. Returns a
   * function that removes the handler.
   *
   * @param {string} type
   * @param {Handler} handler
   * @returns {() => void}
   */
  on(type, handler) {
    mustBe("a handler", handler, "function");
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /**
   * Call a handler whenever the state has changed. Returns a function that removes it.
   *
   * @param {(stream: EventStream) => void} handler
   * @returns {() => void}
   */
  onState(handler) {
    mustBe("a handler", handler, "function");
    this.#stateHandlers.add(handler);
    return () => this.#stateHandlers.delete(handler);
  }

  /** Connect again at once, also after an error has ended the stream. */
  reconnect() {
    if (this.#closed) return;
    // A call after the user has changed accepts the new user.
    this.#knowsUser &&= this.error?.reason !== "user-changed";
    this.#connection.start();
  }

  /** End the stream for good. */
  close() {
    this.#closed = true;
    this.#end(null);
  }

  /**
   * Iterate over all events from now on, until the stream is closed.
   *
   * Throws the StreamError that closes the stream. Throws an Error if the loop is far too
   * slow.
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
        if (waiting.length > MOST_WAITING) throw new Error("the loop is too slow");
        const event = waiting.shift();
        if (event) yield event;
        else await new Promise((resolve) => (wake = () => resolve(null)));
      }
      if (this.error) throw this.error;
    } finally {
      for (const each of forget) each();
    }
  }

  /** @param {import("./connection.js").RawEvent} raw */
  #take(raw) {
    const { type, text } = raw;
    if (this.#closed) return;
    const parsed = jsonOf(text);
    const data = parsed === undefined ? text : parsed;
    if (type === "connected" && !this.#greet(data)) return;
    const event = { ...raw, data };
    if (!OWN_TYPES.includes(type)) this.lastEvent = event;
    for (const each of [type, "*"]) {
      for (const handler of this.#handlers.get(each) ?? [])
        guarded(() => handler(data, event));
    }
  }

  /**
   * Record the user and the client's id from the greeting. If another user has logged in
   * meanwhile, end the stream: that user's events must not appear in this page.
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
    // A closed stream must not pause: it would be open again afterwards.
    if (state === "closed") {
      clearTimeout(this.#pause);
      // Otherwise nobody would know. A 204 is no problem: the server has nothing more.
      if (error && error.reason !== "no-content" && !this.#stateHandlers.size)
        console.warn(`sse-hub: ${this.#url} is closed: ${error.message}`);
    }
    for (const handler of this.#stateHandlers) guarded(() => handler(this));
  }

  /** @param {Event} event */
  #followPage(event) {
    const { type } = event;
    if (type === "pagehide") this.#connection.stop();
    else if (type === "pageshow") {
      // The page comes from the back-forward cache, where nothing runs.
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
 * Run a handler of the page. An error in it is reported, and stops neither other handlers
 * nor the stream.
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
