// One connection for all tabs. One tab, the leader, holds a lock and the connection, and
// passes on what comes; when it is closed the next in the queue for the lock has both.
//
// Each tab has a position of its own, and takes an event only if it is right after it: what
// it has had is dropped, and where something is missing it asks the leader. So nothing is
// lost or doubled whoever leads, and two leaders at once, as when one was asleep, do no harm.

import { Connection, MISSED_HEARTBEATS, jsonOf } from "./connection.js";
import { StreamError } from "./errors.js";
import { Order } from "./position.js";
import { Watchdog } from "./watchdog.js";

// What a leader keeps for tabs that come a moment after the page was rendered.
const KEPT_EVENTS = 1000;
const KEPT_CHARACTERS = 2 ** 20;

// What the names of locks and channels begin with: tabs of another version may say other
// things to each other.
const PREFIX = "sse-hub/1";

// As long as nobody has said how often it is heard of a leader.
const HEARTBEAT = 30;

// A leader that is awake answers in milliseconds, however busy its page is.
const ANSWER_SECONDS = 5;

/**
 * @typedef {import("./connection.js").RawEvent} RawEvent
 * @typedef {import("./connection.js").State} State
 * @typedef {import("./connection.js").RequestOptions & {userId?: string | number | null}} SharedOptions
 *
 * @typedef {import("./messages.js").Ask} Ask
 * @typedef {import("./messages.js").Join} Join
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./messages.js").Notice} Notice
 * @typedef {import("./messages.js").Passed} Passed
 * @typedef {import("./messages.js").Told} Told
 */

/**
 * Return why a stream cannot be shared, null if it can.
 *
 * @param {SharedOptions} options
 * @returns {string | null}
 */
export function whyNotShared({ method = "GET", body, ticket, userId }) {
  if (method !== "GET" || body) return "it is no GET, or has a body";
  if (ticket && !userId) return "with a ticket, userId is needed";
  // A sandboxed page has no origin, and no locks though it may ask for them.
  if (!globalThis.navigator?.locks || origin === "null") {
    return "Web Locks need HTTPS or localhost";
  }
  return null;
}

/** A connection that is shared with other tabs; to its stream it is like a Connection. */
export class SharedConnection {
  // Web Locks exist where this does, but not randomUUID() in each of them.
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
  /** Who is logged in, as was last told to the site. @type {string | null | undefined} */
  #userId;
  #leaderWatch = new Watchdog(() => this.#suspectLeader());
  // Whether the leader has been asked something and has not said anything since.
  #isWaiting = false;
  #asked = false;
  #heartbeat = HEARTBEAT;
  #url;
  #options;
  #listener;
  #name;

  /**
   * @param {URL} url
   * @param {SharedOptions} options
   * @param {import("./connection.js").Listener} listener
   * @param {{clientId?: string, lastEventId: string}} from
   */
  constructor(url, options, listener, { clientId, lastEventId }) {
    this.#url = url;
    this.#options = options;
    this.#listener = listener;
    this.clientId = clientId;
    this.lastEventId = lastEventId;
    // Whoever has logged in just now has no part in what others have open still.
    const { userId, headers } = options;
    this.#name = `${PREFIX} ${addressOf(url)} ${userId} ${JSON.stringify(headers)}`;
  }

  /** @returns {import("./stream.js").Sharing} */
  get sharing() {
    const role = this.#problem ? "alone" : this.#connection ? "leader" : "follower";
    return { role, problem: this.#problem, apart: this.#apart };
  }

  /** Connect, now; of an open connection of all tabs it is made a new one. */
  start() {
    if (this.#connection) return this.#connection.start();
    if (this.#run) return this.#post({ kind: "reconnect" });
    this.#run = new AbortController();
    this.#tabs = new BroadcastChannel(this.#name);
    this.#tabs.onmessage = ({ data }) => this.#hear(data);
    this.#site = new BroadcastChannel(PREFIX);
    this.#site.onmessage = ({ data }) => this.#notice(data);
    this.#join();
    // Where that is denied there is nothing to be seen.
    this.#lookAround().catch(() => {});
  }

  stop() {
    this.#run?.abort();
    this.#run = undefined;
    this.#stepDown();
    this.#leaderWatch.stop();
    this.#tabs?.close();
    this.#site?.close();
  }

  check() {
    this.#connection?.check();
    this.#leaderWatch.check();
  }

  /** Each tab is told that the network is back: it is the leader's business. */
  renew() {
    this.#connection?.renew();
  }

  // Who leads

  #join() {
    this.#queueForLead({});
    this.#asked = false;
    this.#askForMissing();
  }

  /**
   * Lead when nobody else does, or at once by stealing the lock.
   *
   * @param {{steal?: boolean}} how
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
        this.#lead();
      });
    navigator.locks
      // A lock can be stolen, or be waited for until one is told otherwise; not both.
      .request(this.#name, steal ? { steal } : { signal: queueing }, hold)
      .catch((error) => {
        if (run.aborted || queueing.aborted) return;
        if (error.name !== "AbortError") {
          // Where a browser may keep nothing for a site, it has no locks for it either.
          this.#problem = String(error);
          return this.#lead();
        }
        // Another tab took it, as this one was asleep, or is not as far behind.
        this.#stepDown();
        this.#join();
      });
  }

  /** Find out which other streams are shared on this site, and say so. */
  async #lookAround() {
    const { held = [] } = await navigator.locks.query();
    this.#apart = held
      .map(({ name = "" }) => name.split(" "))
      .filter(([prefix, address]) => prefix === PREFIX && address !== addressOf(this.#url))
      .map(([, address = ""]) => address);
    if (this.#apart.length) {
      console.info(
        `sse-hub: other tabs have streams of their own: ${this.#apart.join(" ")}`,
      );
    }
  }

  #lead() {
    this.#leaderWatch.stop();
    const from = { clientId: this.clientId, lastEventId: this.lastEventId };
    const listener = {
      onEvent: (/** @type {RawEvent} */ event, /** @type {string} */ before) =>
        this.#passOn({ kind: "event", event, before }),
      onState: (/** @type {State} */ state, /** @type {StreamError | null} */ error) =>
        this.#tell(state, error),
    };
    this.#connection = new Connection(this.#url, this.#options, listener, from);
    this.#connection.start();
    this.#post(this.#asMessage());
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
    this.#leaderWatch.stop();
    this.#queueForLead({ steal: true });
  }

  /**
   * Ask something of the leader, and lead if there is no answer.
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

  // What a leader does

  /** @param {Passed} passed */
  #passOn(passed) {
    this.#post(passed);
    const { type, text, id } = passed.event;
    if (type === "connected") {
      this.#greeting = passed.event;
      this.#tellUser(jsonOf(text)?.user_id ?? null);
    }
    if (type === "connected" || type === "reset") {
      // What is kept ends right before what comes next.
      if (id !== passed.before) this.#forgetKept();
    } else {
      this.#kept.push(passed);
      this.#keptCharacters += text.length;
      while (this.#kept.length > KEPT_EVENTS || this.#keptCharacters > KEPT_CHARACTERS) {
        this.#keptCharacters -= this.#kept.shift()?.event.text.length ?? 0;
      }
    }
    this.#take(passed);
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
    // To the tabs a new leader is no new stream.
    if (state === "connecting" && this.#told.state !== state) state = "reconnecting";
    if (state === this.#told.state && error === this.#told.error) return;
    // A handler may close the stream, after which nobody can be told.
    if (error?.reason === "unauthorized") this.#tellUser(null);
    this.#become(state, error);
    this.#post(this.#asMessage());
  }

  /** @returns {Told} */
  #asMessage() {
    const { state, error } = this.#told;
    // An error that is passed on loses all but its text.
    return { kind: "state", state, error: error && { ...error, message: error.message } };
  }

  /**
   * Let a tab take part.
   *
   * @param {Join} join
   */
  #welcome(join) {
    // There may have been a login since: the page of this tab was loaded just now.
    if (this.#told.state === "closed") return this.#connection?.start();
    // Without a greeting yet, what comes first will tell it where it is.
    if (this.#greeting) this.#catchUp(join, this.#greeting);
    // Last, since each event is a sign of being open. To all, as this may be a former
    // leader, which has woken up and told all what it saw.
    this.#post(this.#asMessage());
  }

  /**
   * Pass on to a tab what it has not seen.
   *
   * @param {Join} join
   * @param {RawEvent} greeting
   */
  #catchUp({ from: to, after }, greeting) {
    const now = this.lastEventId;
    const reachesBack = !after || this.#order.reaches(this.#kept[0]?.before ?? now, after);
    // Or it is of an epoch that is not known here: the server knows what it has missed.
    if (!reachesBack) return this.#post({ kind: "lead", to });
    this.#post({ kind: "event", event: { ...greeting, id: now }, before: "", to });
    if (!after) return;
    for (const passed of this.#kept) {
      if (!this.#order.reaches(passed.event.id, after)) this.#post({ ...passed, to });
    }
  }

  // What each tab does

  /** @param {Message & {to?: string}} message */
  #hear(message) {
    if (message.to !== undefined && message.to !== this.#tab) return;
    if (this.#connection) {
      if (message.kind === "join") this.#welcome(message);
      else if (message.kind === "ask") this.#post(this.#asMessage());
      else if (message.kind === "reconnect") this.#connection.start();
      return;
    }
    if (message.kind !== "event" && message.kind !== "state" && message.kind !== "lead")
      return;
    this.#trustLeader();
    if (message.kind === "event") {
      this.#become("open", null);
      this.#take(message);
    } else if (message.kind === "lead") this.#queueForLead({ steal: true });
    else {
      const { state, error } = message;
      this.#become(state, error && new StreamError(error.reason, error.message, error));
    }
  }

  /**
   * Take an event that is right after what this tab has seen.
   *
   * @param {Passed} passed
   */
  #take({ event, before }) {
    const { type, id } = event;
    if (type === "connected") return this.#greet(event, before);
    const seen = this.lastEventId;
    this.#order.learn(before, id);
    if (seen && seen !== before) {
      // What was lost from where the leader was need not be lost from here.
      if (type === "reset" || this.#order.reaches(id, seen)) return;
      if (!this.#order.reaches(before, seen)) return this.#askForMissing();
    }
    this.#asked = false;
    this.lastEventId = id;
    this.#listener.onEvent(event, before);
  }

  /**
   * @param {RawEvent} event
   * @param {string} before
   */
  #greet(event, before) {
    const { client_id, heartbeat = this.#heartbeat, resumed } = jsonOf(event.text) ?? {};
    this.clientId = client_id;
    this.#heartbeat = heartbeat;
    if (!this.#connection) this.#trustLeader();
    // Of a new epoch that has lost nothing: the same place by another name.
    if (resumed) this.#order.learn(before, event.id);
    if (!this.lastEventId || (resumed && this.lastEventId === before))
      this.lastEventId = event.id;
    this.#asked = false;
    // What this tab misses may be long ago, and nothing else come that would show it.
    if (before && this.#order.reaches(before, this.lastEventId) === false)
      this.#askForMissing();
    this.#listener.onEvent(event, before);
  }

  #askForMissing() {
    // The answer to the first question brings all of it.
    if (this.#asked) return;
    this.#asked = true;
    this.#ask({ kind: "join", from: this.#tab, after: this.lastEventId });
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
    this.#site?.postMessage({ userId });
  }

  /**
   * Somebody has logged in or out in another tab: the server knows what that means here.
   *
   * @param {Notice} notice
   */
  #notice({ userId }) {
    if (this.#userId !== undefined && userId !== this.#userId) this.#connection?.start();
  }

  /** @param {Message} message */
  #post(message) {
    // What is said while the page is being left reaches nobody.
    if (this.#run) this.#tabs?.postMessage(message);
  }
}

/**
 * Return what tells apart what streams listen to: channels in any order are the same.
 *
 * @param {URL} url
 */
export function addressOf({ origin, pathname, search }) {
  return `${origin}${pathname}?${[...new Set(search.slice(1).split("&"))].sort().join("&")}`;
}
