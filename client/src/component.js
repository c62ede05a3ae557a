// The stream of a component: the part that the hooks for React and Vue and the store for
// Svelte have in common. Does not know any of them.

import { connect } from "./index.js";

/**
 * @import { Seen, UseSSEOptions } from "./component-types.js"
 * @import { EventStream } from "./stream.js"
 *
 * @typedef {Pick<Seen<any>, "state" | "error" | "lastEvent">} Status
 */

/** @type {Status} */
export const NOTHING_YET = { state: "connecting", error: null, lastEvent: null };

/** @type {Status} */
export const NO_STREAM = { ...NOTHING_YET, state: "closed" };

/** Tell whether a server renders the component. It opens no stream. */
export const isServer = () => !globalThis.document;

/**
 * Open a component's stream. Returns the functions that open it again and close it.
 *
 * The stream calls the handlers, and asks for the ticket, of the latest options.
 *
 * @param {() => UseSSEOptions<any>} latest returns the options
 * @param {(change: Partial<Status>) => void} show called when the status has changed
 * @param {() => boolean} isShown tells whether the component shows why a stream has ended
 * @param {(stream: EventStream<any>) => void} [onOpen] called with each stream, before its
 *   first event
 */
export function openFor(latest, show, isShown, onOpen) {
  /** @type {EventStream<any>} */
  let stream;
  const open = (/** @type {{lastEventId?: string}} */ from = {}) => {
    const { url, eventHandlers, ticket, ...others } = latest();
    for (const name of ["on", "onState"]) {
      if (name in others)
        throw new TypeError(`no option "${name}" exists here: use eventHandlers and state`);
    }
    const opened = connect(url ?? undefined, {
      ...others,
      ...from,
      // A ticket that is not a function is refused there.
      ticket: typeof ticket === "function" ? () => latest().ticket?.() ?? "" : ticket,
      onReset: (reset) => latest().onReset?.(reset),
      onState: ({ state, error }) => {
        show({ state, error });
        if (state === "closed" && error && error.reason !== "no-content" && !isShown())
          console.warn(`sse-hub: ${url ?? "the stream"} is closed: ${error.message}`);
      },
      on: {
        "*": (data, event) => {
          if (opened.lastEvent === event) show({ lastEvent: event });
          // An event of the type "*" is one event.
          for (const type of new Set([event.type, "*"]))
            latest().eventHandlers?.[type]?.(data, event);
        },
      },
    });
    stream = opened;
    onOpen?.(opened);
  };
  open();
  return {
    reconnect: () => {
      if (stream.state !== "closed" || stream.error) return stream.reconnect();
      show(NOTHING_YET);
      open({ lastEventId: stream.lastEventId });
    },
    close: () => stream.close(),
  };
}

/**
 * Return a status as a component sees it.
 *
 * @template {object} Events
 * @param {Status} status
 * @param {() => void} onRead called when the component reads the state or the error, and
 *   so shows that the stream has ended
 * @returns {Seen<Events>}
 */
export function seenFrom({ state, error, lastEvent }, onRead) {
  const read = (/** @type {any} */ value) => (onRead(), value);
  return {
    get isConnected() {
      return read(state === "open");
    },
    get state() {
      return read(state);
    },
    get error() {
      return read(error);
    },
    lastEvent: /** @type {any} */ (lastEvent),
  };
}

/**
 * Return a key that changes when the stream has to be replaced, null for no stream.
 *
 * @param {UseSSEOptions<any>} options
 */
export function keyOf({
  url,
  body,
  ticket,
  eventHandlers,
  onReset,
  signal,
  lastEventId,
  clientId,
  headers,
  ...rest
}) {
  // The cursor, the client's id and the callbacks may change without a new stream.
  const named = [...new Headers(headers)];
  const sent = [url && String(url), body && String(body), Boolean(ticket), named, rest];
  return url === null ? null : JSON.stringify(sent);
}
