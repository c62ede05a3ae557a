// React hooks on top of `connect`.

import { useCallback, useEffect, useInsertionEffect, useRef, useState } from "react";
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

/** @type {typeof NOTHING_YET} */
const NO_STREAM = { ...NOTHING_YET, state: "closed" };

/**
 * Have a stream as long as the component is mounted.
 *
 * It connects anew only where `url`, `shared`, or what is sent (`method`, `headers`, `body`,
 * `credentials`) has changed. Objects may be written inline: what they hold is compared.
 * After `closeConnection` it stays closed until `reconnect`, which resumes.
 *
 * @param {UseSSEOptions} [options]
 * @returns {SSE}
 */
export function useSSE(options = {}) {
  const key = keyOf(options);
  const latest = useRef(options);
  const stream = useRef(/** @type {import("./index.js").EventStream | null} */ (null));
  // A stream that was closed and is to be opened again, and where it was then.
  const [reopening, setReopening] = useState(
    /** @type {{key: string | null, lastEventId: string} | null} */ (null),
  );
  const [seen, setSeen] = useState({ key, ...NOTHING_YET });
  // Not while rendering, which React may throw away; and before the effects that use it.
  useInsertionEffect(() => {
    latest.current = options;
  });
  useEffect(() => {
    if (key === null) return undefined;
    const show = (/** @type {Partial<typeof NOTHING_YET>} */ change) =>
      setSeen((before) => ({
        ...(before.key === key ? before : NOTHING_YET),
        key,
        ...change,
      }));
    const { ticket, url } = latest.current;
    const opened = connect(url ?? undefined, {
      ...latest.current,
      ...(reopening?.key === key && { lastEventId: reopening.lastEventId }),
      // Asked of the latest rendering, like the handlers.
      ticket: ticket && (() => latest.current.ticket?.() ?? ""),
      onReset: (reset) => latest.current.onReset?.(reset),
      onState: ({ state, error }) => show({ state, error }),
      on: {
        "*": (data, event) => {
          if (opened.lastEvent === event) show({ lastEvent: event });
          for (const type of [event.type, "*"])
            latest.current.eventHandlers?.[type]?.(data, event);
        },
      },
    });
    stream.current = opened;
    return () => {
      stream.current = null;
      opened.close();
      // React may keep a hidden component, and show it again later.
      setSeen({ key, ...NOTHING_YET });
    };
  }, [key, reopening]);
  const reconnect = useCallback(() => {
    const { current } = stream;
    const wasClosed = current?.state === "closed" && !current.error;
    if (wasClosed) setReopening({ key, lastEventId: current.lastEventId });
    else current?.reconnect();
  }, [key]);
  const closeConnection = useCallback(() => stream.current?.close(), []);
  // What was seen of another stream is not shown, not even until this one is opened.
  const nothing = key === null ? NO_STREAM : NOTHING_YET;
  const { state, error, lastEvent } = seen.key === key && key !== null ? seen : nothing;
  return {
    isConnected: state === "open",
    state,
    error,
    lastEvent,
    reconnect,
    closeConnection,
  };
}

/**
 * Return what tells apart streams of which one replaces the other; null for none.
 *
 * @param {UseSSEOptions} options
 */
function keyOf({
  url,
  body,
  ticket,
  eventHandlers,
  onReset,
  lastEventId,
  clientId,
  ...rest
}) {
  // Where a stream began and who handles its events may change without another stream.
  const sent = [url && String(url), body && String(body), Boolean(ticket), rest];
  return url === null ? null : JSON.stringify(sent);
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
  const news = useRef(0);
  const show = (/** @type {T} */ data) => {
    news.current += 1;
    setShown({ data, updatedAt: new Date() });
  };
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
      // What has come meanwhile is newer.
      const asked = ++news.current;
      load?.().then((data) => news.current === asked && show(data));
      onReset?.(reset);
    },
  });
  return { ...sse, ...shown };
}
