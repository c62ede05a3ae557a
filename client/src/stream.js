// A stream as a page sees it: handlers, state, the last event. Does not know whether its
// events come from a connection of its own or from one that all tabs share.

import { Connection } from "./connection.js";
import { StreamError } from "./errors.js";
import { jsonOf } from "./json.js";
import { mustBe } from "./options.js";
import { guarded, hasServiceWorker, isHidden, watchPage } from "./page.js";
import { peopleIn } from "./presence.js";

// The seconds until a hidden page pauses its stream. Otherwise a short look at another tab
// would cost a reconnect.
const HIDDEN_SECONDS = 10;

// The address of a page that has none, as on a server that renders it.
export const NOWHERE = "https://nowhere.invalid";

// The texts that the console shows. Each is shown once, however often a stream reconnects.
/** @type {Set<string>} */
const said = new Set();

// The types of the hub's own events.
const OWN_TYPES = ["connected", "ping", "reset", "subscribed"];

// The most events that wait for an iteration. A loop this far behind will not catch up, and
// events take memory.
const MOST_WAITING = 10_000;

// The name by which `using` closes a stream. In browsers that lack the symbol, a bundler has
// replaced `using` by code that looks for the second one.
/** @type {typeof Symbol.dispose} */
const DISPOSE = Symbol.dispose ?? Symbol.for("Symbol.dispose");

/**
 * @import { RawEvent } from "./connection.js"
 * @import { People } from "./presence.js"
 * @import { PresenceOptions } from "./presence-types.js"
 * @import {
 *   AnyEvents, Handler, HandlerOf, Options, Sharing, Since, State, StreamEvent, AllEvents
 * } from "./types.js"
 *
 * @typedef {{-readonly [Name in keyof EventStream]: EventStream[Name]}} Writable a stream
 *   within its class; to others its properties are read-only
 */

/**
 * A stream, as `connect()` opens it.
 *
 * @template {object} [Events=AnyEvents]
 */
export class EventStream {
  /** Whether it is open, or what it does instead. @readonly @type {State} */
  state = "connecting";
  /** The reason why it is not open, null if there is none. @readonly @type {StreamError | null} */
  error = null;
  /** The last event of the app. @readonly @type {StreamEvent<Events> | null} */
  lastEvent = null;
  /** The client's id on the server. @readonly @type {string | undefined} */
  clientId;
  /** The user who is logged in, null for nobody. @readonly @type {string | null} */
  userId = null;

  /** @type {Map<string, Set<any>>} */
  #handlers = new Map();
  /** @type {Set<(stream: any) => void>} */
  #stateHandlers = new Set();
  // Whether `userId` is known, which may also be null.
  #knowsUser = false;
  #closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;
  /** @type {Connection | import("./shared.js").SharedConnection} */
  #connection;
  // Whether it shall be open. It may not be yet, while the code for sharing is loaded.
  #isWanted = false;
  /** @type {Promise<void> | null | undefined} */
  #loading;
  /** @type {string | null} */
  #problem = null;
  #forgetPage;
  #pauseAfter;
  #signal;
  #abort = () => this.close();
  #url;

  /**
   * @param {URL} url
   * @param {Options<any>} options
   */
  constructor(url, options) {
    const {
      on = {},
      onState,
      onReset,
      clientId,
      lastEventId = "",
      userId = null,
      signal,
    } = options;
    this.#url = url;
    for (const [type, handler] of Object.entries(on))
      this.on(/** @type {any} */ (type), /** @type {any} */ (handler));
    if (onReset) this.on(/** @type {any} */ ("reset"), onReset);
    if (onState) this.onState(onState);
    this.clientId = clientId;
    // A page may write the id as a number, as it is in the database.
    this.userId = userId === null ? null : String(userId);
    this.#knowsUser = userId !== null;
    const listener = {
      onEvent: (/** @type {RawEvent} */ event) => this.#take(event),
      onState: (/** @type {State} */ state, /** @type {StreamError | null} */ error) =>
        this.#become(state, error),
    };
    const from = { clientId, lastEventId };
    this.#connection = new Connection(url, options, listener, from);
    this.#pauseAfter =
      options.pauseWhenHidden === true ? HIDDEN_SECONDS : options.pauseWhenHidden;
    if (url.origin === NOWHERE) {
      // Neither a request nor a timer keeps the server from its work.
      this.#closed = true;
      return;
    }
    this.#forgetPage = watchPage((event) => this.#followPage(event));
    if (options.shared) this.#loading = this.#share(options, listener, from);
    this.#start();
    this.#pauseOrGoOn();
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort);
    if (signal?.aborted) this.close();
  }

  /** The id of the last event. The stream resumes with it. */
  get lastEventId() {
    return this.#connection.lastEventId;
  }

  /** The way in which tabs share its connection. @returns {Sharing} */
  get sharing() {
    return "sharing" in this.#connection
      ? this.#connection.sharing
      : { role: "alone", problem: this.#problem, apart: [] };
  }

  /**
   * Call a handler with every event. Returns a function that removes the handler.
   *
   * @overload
   * @param {"*"} type
   * @param {Handler<any, StreamEvent<AllEvents<Events>>>} handler
   * @returns {() => void}
   */
  /**
   * Call a handler with each event of a type. Returns a function that removes it.
   *
   * @template {keyof AllEvents<Events> & string} Type
   * @overload
   * @param {Type} type
   * @param {HandlerOf<Events, Type>} handler
   * @returns {() => void}
   */
  /**
   * @param {string} type
   * @param {any} handler
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
   * @param {(stream: this) => void} handler
   * @returns {() => void}
   */
  onState(handler) {
    mustBe("a handler", handler, "function");
    this.#stateHandlers.add(handler);
    return () => this.#stateHandlers.delete(handler);
  }

  /**
   * Listen to more channels on the open connection. The event `subscribed` confirms it.
   * Rejects with a StreamError if the server refuses.
   *
   *     stream.subscribe("room.8", { since: id });
   *
   * With an id, the events of the new channels after it come first.
   *
   * @param {...(string | Since)} channels
   */
  subscribe(...channels) {
    const options = typeof channels.at(-1) === "string" ? {} : channels.pop();
    return this.#listen({
      .../** @type {Since} */ (options),
      subscribe: /** @type {string[]} */ (channels),
    });
  }

  /**
   * Leave channels, without another connection. The event `subscribed` confirms it.
   *
   * @param {...string} channels
   */
  unsubscribe(...channels) {
    return this.#listen({ unsubscribe: channels });
  }

  /**
   * Follow the people in a channel. The stream's URL needs `presence=1`.
   *
   *     const stream = connect("/events?channel=room.7&presence=1");
   *     const people = stream.presence("room.7", { onChange: () => render([...people.values()]) });
   *
   * A stream that does not listen to the channel enters it. The list comes with the greeting of
   * a connection, or with the confirmation that the stream is in the channel. A connection of all
   * tabs cannot enter one: it connects again for the list.
   *
   * @template [Data=any]
   * @param {string} channel
   * @param {PresenceOptions<Data>} [options]
   * @returns {People<Data>}
   */
  presence(channel, options) {
    return peopleIn(this, channel, options);
  }

  /** @param {{subscribe?: string[], unsubscribe?: string[], since?: string}} change */
  #listen(change) {
    /** @returns {Promise<void>} */
    const listen = () => this.#connection.listen(change);
    return this.#loading ? this.#loading.then(listen) : listen();
  }

  /**
   * Replace the connection by one that is shared with other tabs, if that is possible here.
   * Only such streams load the code for it.
   *
   * @param {Options<any>} options
   * @param {import("./connection.js").Listener} listener
   * @param {{clientId?: string, lastEventId: string}} from
   */
  async #share(options, listener, from) {
    try {
      const { SharedConnection, whyNotShared } = await import("./shared.js");
      this.#problem = whyNotShared(options);
      if (!this.#problem)
        this.#connection = new SharedConnection(this.#url, options, listener, from, {
          Connection,
          StreamError,
        });
    } catch (error) {
      this.#problem = String(error);
    }
    if (this.#problem)
      console.info(`sse-hub: not shared with other tabs: ${this.#problem}`);
    this.#loading = null;
    if (this.#isWanted) this.#connection.start();
  }

  #start() {
    this.#isWanted = true;
    if (!this.#loading) this.#connection.start();
  }

  #stop() {
    this.#isWanted = false;
    this.#connection.stop();
  }

  /** Connect again at once, also after an error has ended the stream. */
  reconnect() {
    if (this.#closed) return;
    // A call after the user has changed accepts the new user.
    this.#knowsUser &&= this.error?.reason !== "user-changed";
    this.#start();
  }

  /** End the stream for good. */
  close() {
    // The signal may live longer than the stream.
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#closed = true;
    this.#end(null);
  }

  /** End the stream for good, at the end of a block with `using`. */
  [DISPOSE]() {
    this.close();
  }

  /**
   * Iterate over all events from now on, until the stream is closed.
   *
   * Throws the StreamError that closes the stream. Throws an Error if the loop is far too
   * slow.
   *
   * @returns {AsyncGenerator<StreamEvent<AllEvents<Events>>, void, void>}
   */
  async *[Symbol.asyncIterator]() {
    /** @type {any[]} */
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

  /** @param {RawEvent} raw */
  #take(raw) {
    const { type, text } = raw;
    if (this.#closed) return;
    const parsed = jsonOf(text);
    const data = parsed === undefined ? text : parsed;
    if (type === "connected" && !this.#greet(data ?? {})) return;
    const event = { ...raw, data };
    if (!OWN_TYPES.includes(type)) /** @type {Writable} */ (this).lastEvent = event;
    // An event of the type "*" is one event.
    for (const each of new Set([type, "*"])) {
      for (const handler of this.#handlers.get(each) ?? [])
        guarded(() => handler(data, event));
    }
  }

  /**
   * Record the user and the client's id from the greeting. If another user has logged in
   * meanwhile, end the stream: that user's events must not appear in this page.
   *
   * @param {{client_id?: string, user_id?: string | null, warnings?: string[]}} greeting
   */
  #greet({ client_id, user_id = null, warnings = [] }) {
    if (Array.isArray(warnings))
      for (const text of warnings) warnOnce(`${this.#url.pathname}: ${text}`);
    const isSomebodyElse = this.#knowsUser && user_id !== this.userId;
    if (isSomebodyElse) {
      this.#end(
        new StreamError("user-changed", "somebody else is logged in now", { final: true }),
      );
      return false;
    }
    this.#knowsUser = true;
    /** @type {Writable} */ (this).clientId = client_id;
    /** @type {Writable} */ (this).userId = user_id;
    return true;
  }

  /** @param {StreamError | null} error */
  #end(error) {
    this.#stop();
    if (this.#closed) this.#forgetPage?.();
    this.#become("closed", error);
  }

  /**
   * @param {State} state
   * @param {StreamError | null} error
   */
  #become(state, error) {
    if (state === this.state && error?.message === this.error?.message) return;
    /** @type {Writable} */ (this).state = state;
    /** @type {Writable} */ (this).error = error;
    if (error?.reason === "network" && hasServiceWorker())
      warnOnce("the service worker must let text/event-stream pass");
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
    if (type === "beforeunload") this.#connection.leave();
    else if (type === "pagehide") this.#stop();
    else if (type === "pageshow") {
      // The page comes from the back-forward cache, where nothing runs.
      if (/** @type {PageTransitionEvent} */ (event).persisted) this.#start();
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
        this.#stop();
        this.#become("reconnecting", new StreamError("hidden", "nobody sees the page"));
      }, this.#pauseAfter * 1000);
    } else if (this.error?.reason === "hidden") this.#start();
  }
}

/**
 * Tell a developer something, once for each page.
 *
 * @param {string} text
 */
function warnOnce(text) {
  if (!said.has(text)) console.warn(`sse-hub: ${text}`);
  said.add(text);
}
