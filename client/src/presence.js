// The people in a channel, as a map that follows a stream. Knows the events of presence.
// Does not know connections.

import { mustBe } from "./options.js";

/**
 * @import { Person, PresenceOptions } from "./presence-types.js"
 * @import { EventStream } from "./stream.js"
 */

/**
 * Return the people in a channel of a stream. `EventStream.presence()` describes it.
 *
 * @template [Data=any]
 * @param {EventStream<any>} stream
 * @param {string} channel
 * @param {PresenceOptions<Data>} [options]
 * @returns {People<Data>}
 */
export function peopleIn(stream, channel, { onChange, ...others } = {}) {
  const [unknown] = Object.keys(others);
  if (unknown) throw new TypeError(`no option "${unknown}" exists, only onChange`);
  mustBe("the channel", channel, "string");
  return new People(stream, channel, onChange);
}

/**
 * The people in a channel, by the ids of their users.
 *
 * @template [Data=any]
 * @extends {Map<string, Person<Data>>}
 */
export class People extends Map {
  /** Whether the server has sent the list. @readonly @type {boolean} */
  isKnown = false;
  /** The number of streams without a login when the list came. @readonly @type {number} */
  anonymous = 0;

  #stream;
  #channel;
  // Whether the stream has connected since this map began.
  #isFresh = false;
  // Whether the stream is in the channel, has left it, or cannot enter it.
  #isSettled = false;
  /** @type {(() => void)[]} */
  #forget;
  /** @type {Set<(people: People<Data>) => void>} */
  #handlers = new Set();

  /**
   * @param {EventStream<any>} stream
   * @param {string} channel
   * @param {((people: People<Data>) => void) | undefined} handler
   */
  constructor(stream, channel, handler) {
    super();
    this.#stream = stream;
    this.#channel = channel;
    if (handler) this.onChange(handler);
    this.#forget = [
      stream.on("connected", (/** @type {any} */ data) => this.#greet(data)),
      stream.on("reset", (/** @type {any} */ data) => this.#replace(data)),
      stream.on("subscribed", (/** @type {any} */ data) => this.#move(data)),
      stream.on("presence", (/** @type {any} */ data) => this.#take(data)),
    ];
    if (stream.state === "open") this.#enter(() => this.#connectAgain());
  }

  /**
   * Call a handler after each change. Returns a function that removes the handler.
   *
   * @param {(people: People<Data>) => void} handler
   * @returns {() => void}
   */
  onChange(handler) {
    mustBe("a handler", handler, "function");
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Follow the stream no longer. */
  close() {
    for (const each of this.#forget) each();
    this.#handlers.clear();
  }

  #connectAgain() {
    this.#isFresh = true;
    this.#stream.reconnect();
  }

  /** @param {any} data of `connected` */
  #greet(data) {
    // The leader of the tabs keeps its greeting for those that come later.
    if (!this.#isFresh && this.#stream.sharing.role === "follower")
      return this.#connectAgain();
    this.#isFresh = true;
    this.#isSettled ||= this.#isIn(data) || Boolean(this.#listIn(data));
    this.#replace(data);
    if (!this.#isSettled) this.#enter();
  }

  /**
   * Enter the channel, or ask for its people if the stream is there.
   *
   * @param {() => void} [orElse] called if the server does not change this stream
   */
  async #enter(orElse) {
    try {
      await this.#stream.subscribe(this.#channel);
    } catch {
      this.#isSettled = true;
      orElse?.();
    }
  }

  /** @param {any} data of `subscribed`, which may be about other channels */
  #move(data) {
    const isIn = this.#isIn(data);
    this.#isSettled ||= isIn || data?.refused?.includes(this.#channel);
    if (this.#listIn(data) || (!isIn && this.isKnown)) this.#replace(data);
  }

  /** @param {any} data */
  #isIn(data) {
    return Boolean(data?.channels?.includes(this.#channel));
  }

  /** @param {any} data */
  #listIn(data) {
    return data?.presence?.[this.#channel];
  }

  /** @param {any} data with a list, or without one while the server knows none */
  #replace(data) {
    const list = this.#listIn(data);
    const self = /** @type {{isKnown: boolean, anonymous: number}} */ (this);
    self.isKnown = Boolean(list);
    self.anonymous = list?.anonymous ?? 0;
    this.clear();
    for (const person of list?.people ?? []) this.set(person.user, person);
    this.#tell();
  }

  /** @param {any} data of `presence`; a change may be told again */
  #take({ type, channel, user, since, data }) {
    if (channel !== this.#channel) return;
    if (type === "leave") this.delete(user);
    else this.set(user, { user, since, data });
    this.#tell();
  }

  #tell() {
    for (const handler of this.#handlers) handler(this);
  }
}
