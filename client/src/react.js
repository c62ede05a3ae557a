// React hooks on top of `connect`.

import { useCallback, useEffect, useInsertionEffect, useRef, useState } from "react";
import { connect } from "./index.js";

/**
 * @typedef {import("./index.js").Options} Options
 * @typedef {import("./index.js").StreamEvent} StreamEvent
 *
 * @typedef {object} SSE the stream as a component sees it
 * @property {boolean} isConnected
 * @property {import("./index.js").State} state
 * @property {import("./index.js").StreamError | null} error why the stream is not open
 * @property {StreamEvent | null} lastEvent the last event of the app. Each event renders
 *   the component; React renders once for events that arrive together
 * @property {() => void} reconnect
 * @property {() => void} closeConnection
 *
 * @typedef {object} SSEOptions
 * @property {string | URL | null} [url] null opens no stream. Without it, the URL is the
 *   one that the server wrote into the page
 * @property {Options["on"]} [eventHandlers] handlers by event type. The handlers of the
 *   latest rendering are called, so they need not be memoized
 *
 * @typedef {SSEOptions & Omit<Options, "on" | "onState">} UseSSEOptions
 */

/** @type {Pick<SSE, "state" | "error" | "lastEvent">} */
const NOTHING_YET = { state: "connecting", error: null, lastEvent: null };

/** @type {typeof NOTHING_YET} */
const NO_STREAM = { ...NOTHING_YET, state: "closed" };

/**
 * Keep a stream open as long as the component is mounted.
 *
 * The stream is replaced if an option has changed, such as `url`, `shared` or the request
 * (`method`, `headers`, `body`, `credentials`). Changed handlers, `clientId` and
 * `lastEventId` do not replace it. Objects may be written inline, because their contents
 * are compared. After `closeConnection()` the stream stays closed. `reconnect()` resumes
 * it.
 *
 * @param {UseSSEOptions} [options]
 * @returns {SSE}
 */
export function useSSE(options = {}) {
  const key = keyOf(options);
  const latest = useRef(options);
  const stream = useRef(/** @type {import("./index.js").EventStream | null} */ (null));
  // The closed stream that is to be opened again, and its cursor.
  const [reopening, setReopening] = useState(
    /** @type {{key: string | null, lastEventId: string} | null} */ (null),
  );
  const [seen, setSeen] = useState({ key, ...NOTHING_YET });
  // Whether the component has read the state, and so shows that the stream has ended.
  const shows = useRef(false);
  // React may discard a rendering, so the ref is not set while rendering. This effect runs
  // before the effects that read the ref.
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
    const { url, eventHandlers, ticket, ...others } = latest.current;
    for (const name of ["on", "onState"]) {
      if (name in others)
        throw new TypeError(
          `useSSE() has no option "${name}": use eventHandlers and state`,
        );
    }
    const opened = connect(url ?? undefined, {
      ...others,
      ...(reopening?.key === key && { lastEventId: reopening.lastEventId }),
      // The latest rendering provides the ticket, as it does the handlers. A ticket that is
      // not a function is refused there.
      ticket: typeof ticket === "function" ? () => latest.current.ticket?.() ?? "" : ticket,
      onReset: (reset) => latest.current.onReset?.(reset),
      onState: ({ state, error }) => {
        show({ state, error });
        if (state === "closed" && error && error.reason !== "no-content" && !shows.current)
          console.warn(`sse-hub: ${url ?? "the stream"} is closed: ${error.message}`);
      },
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
      // React may keep the state of a hidden component and show the component again later.
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
  // Values of the previous stream are never shown, not even before the new one is open.
  const nothing = key === null ? NO_STREAM : NOTHING_YET;
  const { state, error, lastEvent } = seen.key === key && key !== null ? seen : nothing;
  const read = (/** @type {any} */ value) => {
    shows.current = true;
    return value;
  };
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
    lastEvent,
    reconnect,
    closeConnection,
  };
}

/**
 * Return a key that changes when the stream has to be replaced, null for no stream.
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
  headers,
  ...rest
}) {
  // The cursor, the client's id and the callbacks may change without a new stream.
  const named = [...new Headers(headers)];
  const sent = [url && String(url), body && String(body), Boolean(ticket), named, rest];
  return url === null ? null : JSON.stringify(sent);
}

/**
 * Keep the newest state of a dashboard. Each event must contain the whole state.
 *
 * It also takes the options of `useSSE`. `initial` is the state with which the page was
 * rendered. `load` loads the state again after events were lost.
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
      // An event that arrives while the state is loaded is newer than the loaded state.
      const asked = ++news.current;
      load?.().then((data) => news.current === asked && show(data));
      onReset?.(reset);
    },
  });
  // A spread of `sse` would read its state, as if the component had.
  return Object.defineProperties(
    /** @type {SSE & typeof shown} */ ({ ...shown }),
    Object.getOwnPropertyDescriptors(sse),
  );
}
