// A store for Svelte on top of `connect`.

import { readable } from "svelte/store";
import { NOTHING_YET, NO_STREAM, isServer, openFor, seenFrom } from "./component.js";

/**
 * @import { Seen, UseSSEOptions } from "./component-types.js"
 * @import { SSEStore } from "./svelte-types.js"
 * @import { AnyEvents } from "./types.js"
 */

/**
 * Return a store that keeps a stream open as long as it has subscribers.
 *
 * All subscribers share the stream. After `closeConnection()` the stream stays closed.
 * `reconnect()` resumes it.
 *
 * @template {object} [Events=AnyEvents]
 * @param {UseSSEOptions<Events>} [options]
 * @returns {SSEStore<Events>}
 */
export function sseStore(options = {}) {
  const nothing = options.url === null ? NO_STREAM : NOTHING_YET;
  let status = nothing;
  /** @type {ReturnType<typeof openFor> | undefined} */
  let stream;
  let isShown = false;
  /** @returns {Seen<Events>} */
  const seen = () => seenFrom(status, () => (isShown = true));
  const { subscribe } = readable(seen(), (set) => {
    if (isServer() || options.url === null) return;
    const show = (/** @type {Partial<typeof status>} */ change) => {
      status = { ...status, ...change };
      set(seen());
    };
    show(nothing);
    const opened = openFor(
      () => options,
      show,
      () => isShown,
    );
    stream = opened;
    return () => {
      stream = undefined;
      opened.close();
    };
  });
  return {
    subscribe,
    reconnect: () => stream?.reconnect(),
    closeConnection: () => stream?.close(),
  };
}
