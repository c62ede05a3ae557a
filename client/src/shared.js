// One connection for all tabs. One tab, the leader, holds a lock and the connection, and
// passes events on to the others. When it is closed, the next tab in the queue for the lock
// becomes the leader.
//
// Each tab has a position of its own and takes an event only if it comes right after that
// position. It drops events that it has had, and asks the leader for events that it misses.
// So no event is lost or doubled when the leader changes. Two leaders at once do no harm
// either; this happens when a leader was asleep.
//
// Tabs with different channels share the connection too. The leader's connection has the
// channels of all tabs, and a tab shows only the events that are meant for it. A leader that
// lacks a tab's channels tells the tab to lead. That tab then connects with its own channels
// and the leader's, from a place at which nobody misses anything.
//
// The core loads this module for streams that are shared, and passes its classes: an import
// of the core could not have the hash that its URL has in a page, and would load it twice.

import { channelsOf, isHeard, isWithin } from "./channels.js";
import { MISSED_HEARTBEATS } from "./connection.js";
import { jsonOf } from "./json.js";
import { Order } from "./position.js";
import { Watchdog } from "./watchdog.js";

// The bounds of the events that a leader keeps for new tabs. A new tab needs the events
// since its page was rendered.
const KEPT_EVENTS = 1000;
const KEPT_CHARACTERS = 2 ** 20;

// The beginning of the names of locks and broadcast channels. It holds a version, because
// tabs of another version may speak another protocol.
const PREFIX = "sse-hub/2";

// The seconds between two signs of life of a leader, until a greeting tells the real value.
const HEARTBEAT = 30;

// A leader that is awake answers in milliseconds, however busy its page is.
const ANSWER_SECONDS = 5;

// Problems of a browser whose abilities are there, but do nothing.
const NO_LOCK = "the browser does not give out locks";
const DEAF = "the tabs do not hear each other";

// Refusals that may be about the channels of other tabs.
const OF_CHANNELS = /forbidden|bad-request/;

/**
 * @import { Connection, RawEvent } from "./connection.js"
 * @import { StreamError } from "./errors.js"
 * @import { Ask, Join, Message, Notice, Passed, Told } from "./messages.js"
 * @import { RequestOptions, Sharing, State } from "./types.js"
 *
 * @typedef {RequestOptions & {userId?: string | number | null}} SharedOptions
 *
 * @typedef {object} Core the classes of the core
 * @property {typeof Connection} Connection
 * @property {typeof StreamError} StreamError
 */

/**
 * Return the reason why a stream cannot be shared, null if it can.
 *
 * @param {SharedOptions} options
 * @returns {string | null}
 */
export function whyNotShared({ method = "GET", body, ticket, userId, state }) {
  // A new tab needs the whole state, and a leader keeps only the last events.
  if (method !== "GET" || body || state) return "it is no GET, or has body or state";
  if (ticket && !userId) return "with a ticket, userId is needed";
  try {
    // A sandboxed page has no origin. It has `navigator.locks`, but requests for a lock
    // fail.
    if (!navigator.locks || globalThis.origin === "null")
      return "Web Locks need HTTPS or localhost";
    // Where site data is blocked, this throws.
    new BroadcastChannel(PREFIX).close();
    return null;
  } catch (error) {
    return String(error);
  }
}

/** A connection that is shared with other tabs. Its interface is that of Connection. */
export class SharedConnection {
  // Not randomUUID(): some browsers that have Web Locks lack it.
  #tab = Math.random().toString(36).slice(2);
  #order = new Order();
  /** @type {Passed[]} */
  #kept = [];
  #keptCharacters = 0;
  /** @type {RawEvent | undefined} */
  #greeting;
  /** @type {{state: State, error: StreamError | null}} */
  #told = { state: "connecting", error: null };
  /** @type {AbortController | undefined} */
  #run;
  /** @type {AbortController | undefined} */
  #queueing;
  /** @type {Connection | undefined} */
  #connection;
  /** @type {BroadcastChannel | undefined} */
  #tabs;
  /** @type {BroadcastChannel | undefined} */
  #site;
  /** @type {string[]} */
  #apart = [];
  /** @type {string | null} */
  #problem = null;
  /** The user that was last announced to the site. @type {string | null | undefined} */
  #userId;
  #leaderWatch = new Watchdog(() => this.#suspectLeader());
  // Whether the leader was asked something and has been silent since.
  #isWaiting = false;
  // Whether this tab wanted the lock of a silent leader, or was given it, and has heard no
  // other tab since.
  /** @type {"" | "asked" | "given"} */
  #stolen = "";
  #asked = false;
  #heartbeat = HEARTBEAT;
  #url;
  #options;
  #listener;
  #core;
  #name = "";
  // The channels in this tab's URL, and those of the leader's connection as last heard.
  /** @type {string[]} */
  #wants;
  /** @type {string[]} */
  #channels = [];
  // Whether this tab shares only with tabs that have the same channels.
  #isApart = false;
  // The position of the leader that told this tab to lead.
  #leaderAt = "";
  // The channels that tabs have asked for since the leader last asked them.
  /** @type {Set<string>} */
  #wanted = new Set();
  #askedTabsAt = 0;

  /**
   * @param {URL} url
   * @param {SharedOptions} options
   * @param {import("./connection.js").Listener} listener
   * @param {{clientId?: string, lastEventId: string}} from
   * @param {Core} core
   */
  constructor(url, options, listener, { clientId, lastEventId }, core) {
    this.#url = url;
    this.#options = options;
    this.#listener = listener;
    this.#core = core;
    this.clientId = clientId;
    this.lastEventId = lastEventId;
    this.#wants = [...new Set(url.searchParams.getAll("channel"))].sort();
    this.#setName();
  }

  #setName() {
    // The user is part of the name, so that after a login a new tab does not share the
    // stream that tabs of the previous user still have open.
    const { userId, headers } = this.#options;
    // Every script of the origin can list the names of locks, so headers, which may have a
    // token, are only a part of it as a digest.
    const sent = JSON.stringify([...new Headers(headers)]);
    const address = addressOf(this.#isApart ? this.#url : this.#urlOf([]));
    this.#name = `${PREFIX} ${address} ${userId} ${digestOf(sent)} ${this.#isApart}`;
  }

  /**
   * Return the URL of this stream with other channels.
   *
   * @param {string[]} channels
   */
  #urlOf(channels) {
    const url = new URL(this.#url);
    url.searchParams.delete("channel");
    for (const name of channels) url.searchParams.append("channel", name);
    if (channels.length && !this.#isApart) url.searchParams.set("names_channels", "1");
    return url;
  }

  /** @returns {Sharing} */
  get sharing() {
    const role = this.#problem ? "alone" : this.#connection ? "leader" : "follower";
    return { role, problem: this.#problem, apart: this.#apart };
  }

  /** Connect at once. If the tabs have an open connection, it is replaced by a new one. */
  start() {
    if (this.#connection) return this.#connection.start();
    if (this.#run) return this.#post({ kind: "reconnect" });
    this.#run = new AbortController();
    this.#tabs = new BroadcastChannel(this.#name);
    this.#tabs.onmessage = ({ data }) => this.#hear(data);
    this.#site = new BroadcastChannel(PREFIX);
    this.#site.onmessage = ({ data }) => this.#notice(data);
    if (this.#problem) this.#lead();
    this.#join();
    // This is only for information. A browser may deny it.
    this.#lookAround().catch(() => {});
  }

  stop() {
    this.#run?.abort();
    this.#run = undefined;
    this.#stolen = "";
    this.#stepDown();
    this.#leaderWatch.stop();
    this.#tabs?.close();
    this.#site?.close();
  }

  check() {
    this.#connection?.check();
    this.#leaderWatch.check();
  }

  /**
   * Connect again if this tab leads, because the network is back. Every tab notices that by
   * itself.
   */
  renew() {
    this.#connection?.renew();
  }

  leave() {
    this.#connection?.leave();
  }

  /** @returns {Promise<void>} */
  listen() {
    throw new TypeError("tabs share it");
  }

  // Choosing the leader

  #join() {
    this.#queueForLead({});
    this.#asked = false;
    if (!this.#connection) this.#askForMissing();
  }

  /**
   * Wait for the lock and then lead. With `steal`, take the lock and lead at once.
   *
   * @param {{steal?: boolean}} want
   */
  #queueForLead({ steal = false }) {
    const run = /** @type {AbortController} */ (this.#run).signal;
    this.#queueing?.abort();
    this.#queueing = new AbortController();
    const queueing = this.#queueing.signal;
    const hold = () =>
      new Promise((release) => {
        if (run.aborted || queueing.aborted) return release(null);
        run.addEventListener("abort", release);
        if (this.#stolen) this.#stolen = "given";
        this.#problem = null;
        if (!this.#connection) this.#lead();
      });
    // The API allows either `steal`, or a `signal` that ends the waiting, but not both.
    const how = steal ? { steal } : { signal: queueing };
    // In an async function, a browser that throws is the same as one that refuses.
    (async () => navigator.locks.request(this.#name, how, hold))().catch((error) => {
      if (run.aborted || queueing.aborted) return;
      // A browser that may not store anything for a site refuses locks too.
      if (error.name !== "AbortError") return this.#leadAlone(String(error));
      // Another tab stole the lock, because this one was asleep, or because the other one
      // needs older events.
      this.#stepDown();
      this.#join();
    });
  }

  /**
   * Connect without the lock, as each tab then does.
   *
   * @param {string} problem
   */
  #leadAlone(problem) {
    this.#problem = problem;
    if (!this.#connection) this.#lead();
  }

  /**
   * Find the other streams that pages of this site share, and list them in the console.
   * They may belong to this page too.
   */
  async #lookAround() {
    const { held = [] } = await navigator.locks.query();
    this.#apart = held
      .map(({ name = "" }) => name)
      .filter((name) => name !== this.#name && name.startsWith(`${PREFIX} `))
      .map((name) => name.split(" ")[1] ?? "");
    if (this.#apart.length) {
      console.info(
        `sse-hub: this page or another tab has other streams: ${this.#apart.join(" ")}`,
      );
    }
  }

  /** @param {string[]} [channels] by default also those of the last leader */
  #lead(channels = this.#isApart || this.#problem ? [] : this.#channels) {
    this.#leaderWatch.stop();
    this.#channels = [...new Set([...this.#wants, ...channels])].sort();
    this.#wanted = new Set(this.#channels);
    this.#askedTabsAt = Date.now();
    // The other tabs miss nothing if it begins at the last leader's position.
    const at = this.#leaderAt;
    this.#leaderAt = "";
    const isEarlier = at && this.#order.reaches(at, this.lastEventId);
    const lastEventId = isEarlier ? at : this.lastEventId;
    const from = { clientId: this.clientId, lastEventId };
    const listener = {
      onEvent: (/** @type {RawEvent} */ event, /** @type {string} */ before) =>
        this.#passOn(event, before),
      onState: (/** @type {State} */ state, /** @type {StreamError | null} */ error) =>
        this.#tell(state, error),
    };
    const { Connection } = this.#core;
    const url = this.#urlOf(this.#channels);
    this.#connection = new Connection(url, this.#options, listener, from);
    this.#connection.start();
    this.#post(this.#asMessage());
  }

  /**
   * Replace the leader's connection.
   *
   * @param {string[]} channels
   */
  #leadAgain(channels) {
    this.#connection?.stop();
    this.#connection = undefined;
    this.#lead(channels);
  }

  #stepDown() {
    this.#queueing?.abort();
    this.#connection?.stop();
    this.#connection = undefined;
    this.#greeting = undefined;
    this.#forgetKept();
  }

  #suspectLeader() {
    if (!this.#isWaiting) return this.#ask({ kind: "ask" });
    // A lock is stolen within milliseconds, and the thief tells the other tabs. Otherwise
    // this tab would wait for ever, or the tabs would steal it from each other for ever.
    if (this.#stolen) return this.#leadAlone(this.#stolen === "given" ? DEAF : NO_LOCK);
    this.#stolen = "asked";
    this.#leaderWatch.expect(ANSWER_SECONDS);
    this.#queueForLead({ steal: true });
  }

  /**
   * Send a question to the leader. If it does not answer in time, this tab leads.
   *
   * @param {Join | Ask} question
   */
  #ask(question) {
    this.#isWaiting = true;
    this.#leaderWatch.expect(ANSWER_SECONDS);
    this.#post(question);
  }

  #trustLeader() {
    this.#isWaiting = false;
    this.#leaderWatch.expect(this.#heartbeat * MISSED_HEARTBEATS);
  }

  // Leading

  /**
   * @param {RawEvent} event
   * @param {string} before
   */
  #passOn(event, before) {
    const { type, text, id } = event;
    if (type === "connected") {
      const greeting = jsonOf(text);
      this.#greeting = event;
      this.#tellUser(greeting?.user_id ?? null);
      // A view of the app may have other channels, and an older server does not name them.
      const { channels = [], names_channels } = greeting ?? {};
      const isKnown = names_channels && isWithin(this.#channels, channels);
      if (this.#channels.length && !this.#isApart && !isKnown) return this.#split();
    }
    /** @type {Passed} */
    const passed = { kind: "event", event, before, channels: this.#channels };
    this.#post(passed);
    if (type === "connected" || type === "reset") {
      // The kept events must end right before the next event.
      if (id !== passed.before) this.#forgetKept();
    } else {
      this.#kept.push(passed);
      this.#keptCharacters += text.length;
      while (this.#kept.length > KEPT_EVENTS || this.#keptCharacters > KEPT_CHARACTERS) {
        this.#keptCharacters -= this.#kept.shift()?.event.text.length ?? 0;
      }
    }
    this.#take(passed);
    if (Date.now() - this.#askedTabsAt > this.#heartbeat * 1000) this.#askTabs();
  }

  /**
   * Ask the tabs for their channels, and leave those for which no tab has asked since the
   * last time.
   */
  #askTabs() {
    const channels = this.#channels.filter((name) => this.#wanted.has(name));
    this.#wanted = new Set(this.#wants);
    this.#askedTabsAt = Date.now();
    this.#post({ kind: "who" });
    if (!isWithin(this.#channels, [...channels, ...this.#wants])) this.#leadAgain(channels);
  }

  /** Have each tab share only with tabs that have the same channels. */
  #split() {
    this.#post({ kind: "split" });
    this.#fallApart();
  }

  #fallApart() {
    this.stop();
    this.#isApart = true;
    this.#channels = [];
    this.#setName();
    this.start();
    // Last, because a handler may close the stream.
    this.#become("reconnecting", null);
  }

  #forgetKept() {
    this.#kept = [];
    this.#keptCharacters = 0;
  }

  /**
   * @param {State} state
   * @param {StreamError | null} error
   */
  #tell(state, error) {
    // For the other tabs the stream stays the same when the leader changes.
    if (state === "connecting" && this.#told.state !== state) state = "reconnecting";
    if (state === this.#told.state && error === this.#told.error) return;
    // The refusal may be about the channels of another tab.
    const isAlone = isWithin(this.#channels, this.#wants);
    if (state === "closed" && OF_CHANNELS.test(error?.reason ?? "") && !isAlone)
      return this.#split();
    // First, because a handler of the next call may close the stream. Nothing can be sent
    // afterwards.
    if (error?.reason === "unauthorized") this.#tellUser(null);
    this.#become(state, error);
    this.#post(this.#asMessage());
  }

  /** @returns {Told} */
  #asMessage() {
    const { state, error } = this.#told;
    // A cloned Error keeps only its text, so its fields are copied to a plain object.
    const plain = error && { ...error, message: error.message };
    return { kind: "state", state, error: plain, channels: this.#channels };
  }

  /**
   * Answer a tab that wants to share the stream.
   *
   * @param {Join} join
   */
  #welcome(join) {
    this.#note(join.channels);
    if (!isWithin(join.channels, this.#channels)) return this.#tellToLead(join.from);
    // The new tab's page was loaded just now, so a login may have removed the reason why
    // the stream was closed.
    if (this.#told.state === "closed") return this.#connection?.start();
    // Before the greeting there is nothing to pass on. The new tab will receive it too.
    if (this.#greeting) this.#catchUp(join, this.#greeting);
    // The state comes last, because a tab takes each event as a sign that the stream is
    // open. It goes to all tabs, because the sender may be a former leader that has woken
    // up and told all of them an old state.
    this.#post(this.#asMessage());
  }

  /**
   * Send a tab the events that it has not seen.
   *
   * @param {Join} join
   * @param {RawEvent} greeting
   */
  #catchUp({ from: to, after }, greeting) {
    const now = this.lastEventId;
    const reachesBack = !after || this.#order.reaches(this.#kept[0]?.before ?? now, after);
    // The kept events do not reach back to the tab's position, or its epoch is not known
    // here. The server knows what the tab has missed, so the tab shall connect by itself.
    if (!reachesBack) return this.#tellToLead(to);
    const event = { ...greeting, id: now };
    this.#post({ kind: "event", event, before: "", to, channels: this.#channels });
    if (!after) return;
    for (const passed of this.#kept) {
      if (!this.#order.reaches(passed.event.id, after)) this.#post({ ...passed, to });
    }
  }

  /** @param {string} to */
  #tellToLead(to) {
    this.#post({ kind: "lead", to, at: this.lastEventId, channels: this.#channels });
  }

  /** @param {string[]} channels that a tab wants */
  #note(channels) {
    for (const name of channels) this.#wanted.add(name);
  }

  // In every tab

  /** @param {Message & {to?: string}} message */
  #hear(message) {
    this.#stolen = "";
    if (this.#problem === DEAF) {
      this.#problem = null;
      this.#stepDown();
      this.#join();
    }
    if (message.to !== undefined && message.to !== this.#tab) return;
    if (this.#connection) {
      if (message.kind === "join") this.#welcome(message);
      else if (message.kind === "ask") this.#post(this.#asMessage());
      else if (message.kind === "want") this.#note(message.channels);
      else if (message.kind === "reconnect") this.#connection.start();
      else if (message.kind === "split") this.#fallApart();
      return;
    }
    if (message.kind === "split") return this.#fallApart();
    if (message.kind === "who") return this.#post({ kind: "want", channels: this.#wants });
    if (message.kind !== "event" && message.kind !== "state" && message.kind !== "lead")
      return;
    this.#trustLeader();
    this.#channels = message.channels;
    const isCovered = isWithin(this.#wants, message.channels);
    if (message.kind === "event") {
      if (isCovered) {
        this.#become("open", null);
        this.#take(message);
        return;
      }
      // A new leader has not heard the question.
      if (message.event.type === "connected") this.#asked = false;
      this.#askForMissing();
    } else if (message.kind === "lead") {
      this.#leaderAt = message.at;
      this.lastEventId ||= message.at;
      this.#queueForLead({ steal: true });
    } else if (message.state === "open" && !isCovered) this.#askForMissing();
    else {
      const { state, error } = message;
      const { StreamError } = this.#core;
      this.#become(state, error && new StreamError(error.reason, error.message, error));
    }
  }

  /**
   * Take an event if it comes right after this tab's position.
   *
   * @param {Passed} passed
   */
  #take({ event, before, channels }) {
    const { type, id } = event;
    if (type === "connected") return this.#greet(event, before, channels);
    const seen = this.lastEventId;
    this.#order.learn(before, id);
    if (seen && seen !== before) {
      // Events that are lost for the leader's position are not always lost for this one.
      if (type === "reset" || this.#order.reaches(id, seen)) return;
      if (!this.#order.reaches(before, seen)) return this.#askForMissing();
    }
    this.#asked = false;
    this.lastEventId = id;
    const names = channelsOf(event);
    if (names.length && !names.some((name) => this.#isMeant(name, channels))) return;
    // For the page, an event has a channel only if it has no other one.
    const channel = names.length > 1 ? undefined : event.channel;
    this.#listener.onEvent({ ...event, channel }, before);
  }

  /**
   * Tell whether this tab shows what a connection brings for a channel. No tab has asked for
   * some of the channels: those that the server has added.
   *
   * @param {string} name
   * @param {string[]} channels of the connection
   */
  #isMeant(name, channels) {
    return isHeard(name, this.#wants) || !isHeard(name, channels);
  }

  /**
   * @param {RawEvent} event
   * @param {string} before
   * @param {string[]} channels
   */
  #greet(event, before, channels) {
    const greeting = jsonOf(event.text) ?? {};
    const { client_id, heartbeat = this.#heartbeat, resumed } = greeting;
    this.clientId = client_id;
    this.#heartbeat = heartbeat;
    if (!this.#connection) this.#trustLeader();
    // The server resumed without loss, perhaps in a new epoch. The new id then names the
    // same position as the old one.
    if (resumed) this.#order.learn(before, event.id);
    if (!this.lastEventId || (resumed && this.lastEventId === before))
      this.lastEventId = event.id;
    this.#asked = false;
    // This tab may have missed events long ago. It asks now, because no later event may
    // come that would show it.
    if (before && this.#order.reaches(before, this.lastEventId) === false)
      this.#askForMissing();
    // The page hears of its own channels only.
    greeting.channels = greeting.channels?.filter((/** @type {string} */ name) =>
      this.#isMeant(name, channels),
    );
    this.#listener.onEvent({ ...event, text: JSON.stringify(greeting) }, before);
  }

  #askForMissing() {
    // The answer to the first question contains all missing events.
    if (this.#asked) return;
    // A leader that began at an earlier position may have been reset from there.
    if (this.#connection) return this.#leadAgain(this.#channels);
    this.#asked = true;
    const channels = this.#wants;
    this.#ask({ kind: "join", from: this.#tab, after: this.lastEventId, channels });
  }

  /**
   * @param {State} state
   * @param {StreamError | null} error
   */
  #become(state, error) {
    this.#told = { state, error };
    this.#listener.onState(state, error);
  }

  // The whole site

  /** @param {string | null} userId */
  #tellUser(userId) {
    if (userId === this.#userId) return;
    this.#userId = userId;
    this.#post({ userId }, this.#site);
  }

  /**
   * Connect again after a login or logout in another tab. The server then decides what that
   * means for this stream.
   *
   * @param {Notice} notice
   */
  #notice({ userId }) {
    if (this.#userId !== undefined && userId !== this.#userId) this.#connection?.start();
  }

  /**
   * @param {Message | Notice} message
   * @param {BroadcastChannel} [channel]
   */
  #post(message, channel = this.#tabs) {
    // After stop() the broadcast channel is closed.
    if (!this.#run) return;
    try {
      channel?.postMessage(message);
    } catch {
      // As if no other tab heard it. Deno has channels that throw.
    }
  }
}

/**
 * Return 32 bits of a text, by the hash FNV-1a: too few to tell the text from them, and
 * enough to tell two texts apart.
 *
 * @param {string} text
 */
export function digestOf(text) {
  let hash = 0;
  for (const character of text)
    hash = Math.imul(hash ^ /** @type {number} */ (character.codePointAt(0)), 16777619);
  return hash;
}

/**
 * Return a URL in a form in which equal streams are equal: the order of channels does not
 * count.
 *
 * @param {URL} url
 */
export function addressOf({ origin, pathname, search }) {
  return `${origin}${pathname}?${[...new Set(search.slice(1).split("&"))].sort().join("&")}`;
}
