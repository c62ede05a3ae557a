// React hooks on top of `connect`.

import { useCallback, useEffect, useRef, useState } from "react";
import { connect } from "./index.js";

/**
 * @typedef {import("./index.js").Options} Options
 * @typedef {import("./index.js").StreamEvent} StreamEvent
 *
 * @typedef {object} SSE what a component sees of its stream
 * @property {boolean} isConnected
 * @property {import("./index.js").State} state
 * @property {import("./index.js").StreamError | null} error why it is not connected
 * @property {StreamEvent | null} lastEvent of the app; the component is rendered for each,
 *   and React joins those that come together
 * @property {() => void} reconnect
 * @property {() => void} closeConnection
 *
 * @typedef {object} SSEOptions
 * @property {string | URL | null} [url] null opens no stream; left out it is the page's
 * @property {Options["on"]} [eventHandlers] by event type; those of the latest rendering
 *   are called, so they need not be memoized
 *
 * @typedef {SSEOptions & Omit<Options, "on" | "onState">} UseSSEOptions
 */

/** @type {Pick<SSE, "state" | "error" | "lastEvent">} */
const NOTHING_YET = { state: "connecting", error: null, lastEvent: null };

/**
 * Have a stream as long as the component is mounted.
 *
 * It connects anew only where `url`, `shared`, or what is sent (`method`, `headers`, `body`,
 * `credentials`) has changed.
 *
 * @param {UseSSEOptions} [options]
 * @returns {SSE}
 */
export function useSSE(options = {}) {
  const latest = useRef(options);
  latest.current = options;
  const stream = useRef(/** @type {import("./index.js").EventStream | null} */ (null));
  const [seen, setSeen] = useState(NOTHING_YET);
  const { eventHandlers, onReset, ticket, url, ...rest } = options;
  const key = url === null ? null : JSON.stringify([url && String(url), rest]);
  useEffect(() => {
    if (key === null) return undefined;
    const { ticket, url } = latest.current;
    const opened = connect(url ?? undefined, {
      ...latest.current,
      // Asked of the latest rendering, like the handlers.
      ticket: ticket && (() => latest.current.ticket?.() ?? ""),
      onReset: (reset) => latest.current.onReset?.(reset),
      onState: ({ state, error }) => setSeen((before) => ({ ...before, state, error })),
      on: {
        "*": (data, event) => {
          if (opened.lastEvent === event)
            setSeen((before) => ({ ...before, lastEvent: event }));
          for (const type of [event.type, "*"])
            latest.current.eventHandlers?.[type]?.(data, event);
        },
      },
    });
    stream.current = opened;
    return () => {
      opened.close();
      stream.current = null;
      setSeen(NOTHING_YET);
    };
  }, [key]);
  const reconnect = useCallback(() => stream.current?.reconnect(), []);
  const closeConnection = useCallback(() => stream.current?.close(), []);
  return { isConnected: seen.state === "open", ...seen, reconnect, closeConnection };
}

/**
 * Have the newest state of a dashboard whose events each have all of it.
 *
 * Takes what `useSSE` takes too. `initial` is what the page was rendered with, and
 * `load` loads the state anew where history was lost.
 *
 * @template T
 * @param {UseSSEOptions & {type?: string, initial?: T, load?: () => Promise<T>}} [options]
 * @returns {SSE & {data: T | undefined, updatedAt: Date | null}}
 */
export function useDashboardSSE({
  url = "/api/dashboard/sse",
  type = "dashboardUpdate",
  initial,
  load,
  eventHandlers,
  onReset,
  ...options
} = {}) {
  const [shown, setShown] = useState(
    /** @type {{data: T | undefined, updatedAt: Date | null}} */ ({
      data: initial,
      updatedAt: null,
    }),
  );
  const show = (/** @type {T} */ data) => setShown({ data, updatedAt: new Date() });
  const sse = useSSE({
    ...options,
    url,
    eventHandlers: {
      ...eventHandlers,
      [type]: (data, event) => {
        show(data);
        eventHandlers?.[type]?.(data, event);
      },
    },
    onReset: (reset) => {
      load?.().then(show);
      onReset?.(reset);
    },
  });
  return { ...sse, ...shown };
}
