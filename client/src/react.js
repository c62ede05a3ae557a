// React hooks on top of `connect`.

import { useCallback, useEffect, useInsertionEffect, useRef, useState } from "react";
import { answer, resume } from "./answer.js";
import { NOTHING_YET, NO_STREAM, keyOf, openFor, seenFrom } from "./component.js";

/**
 * @import { Answer } from "./answer.js"
 * @import { StartOptions } from "./answer-types.js"
 * @import { Status } from "./component.js"
 * @import { Dashboard, DashboardOptions, FollowedAnswer, Presence, SSE } from "./react-types.js"
 * @import { Seen, UseSSEOptions } from "./component-types.js"
 * @import { EventStream } from "./stream.js"
 * @import { AnyEvents, StreamEvent } from "./types.js"
 */

/**
 * Keep a stream open as long as the component is mounted.
 *
 * The stream is replaced if an option has changed, such as `url`, `shared` or the request
 * (`method`, `headers`, `body`, `credentials`). Changed handlers, `clientId` and
 * `lastEventId` do not replace it. Objects may be written inline, because their contents
 * are compared. After `closeConnection()` the stream stays closed. `reconnect()` resumes
 * it.
 *
 * @template {object} [Events=AnyEvents]
 * @param {UseSSEOptions<Events>} [options]
 * @returns {SSE<Events>}
 */
export function useSSE(options = {}) {
  return useStream(options, keyOf(options));
}

/**
 * Keep a stream open. Another key replaces it.
 *
 * @template {object} Events
 * @param {UseSSEOptions<Events>} options
 * @param {string | null} key null for no stream
 * @param {(stream: EventStream<any>) => void} [onOpen] called with each stream, before its
 *   first event
 * @returns {SSE<Events>}
 */
function useStream(options, key, onOpen) {
  const latest = useRef(options);
  const stream = useRef(/** @type {ReturnType<typeof openFor> | null} */ (null));
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
    const show = (/** @type {Partial<Status>} */ change) =>
      setSeen((before) => ({
        ...(before.key === key ? before : NOTHING_YET),
        key,
        ...change,
      }));
    const opened = openFor(
      () => latest.current,
      show,
      () => shows.current,
      onOpen,
    );
    stream.current = opened;
    return () => {
      stream.current = null;
      opened.close();
      // React may keep the state of a hidden component and show the component again later.
      setSeen({ key, ...NOTHING_YET });
    };
  }, [key]);
  const reconnect = useCallback(() => stream.current?.reconnect(), []);
  const closeConnection = useCallback(() => stream.current?.close(), []);
  // Values of the previous stream are never shown, not even before the new one is open.
  const nothing = key === null ? NO_STREAM : NOTHING_YET;
  const status = seen.key === key && key !== null ? seen : nothing;
  /** @type {Seen<Events>} */
  const shown = seenFrom(status, () => (shows.current = true));
  return Object.assign(shown, { reconnect, closeConnection });
}

/**
 * Keep the newest state of a dashboard. Each event must contain the whole state.
 *
 * It also takes the options of `useSSE`. `initial` is the state with which the page was
 * rendered. `load` loads the state again after events were lost.
 *
 * @template T
 * @overload
 * @param {DashboardOptions<T> & {initial: T}} options
 * @returns {Dashboard<T>}
 */
/**
 * Keep the newest state of a dashboard, which is undefined until the first event.
 *
 * @template T
 * @overload
 * @param {DashboardOptions<T>} [options]
 * @returns {Dashboard<T | undefined>}
 */
/**
 * @template T
 * @param {DashboardOptions<T>} [options]
 * @returns {Dashboard<T | undefined>}
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
      [type]: (/** @type {T} */ data, /** @type {StreamEvent} */ event) => {
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
  return withStream({ ...shown }, sse);
}

const NOBODY = Object.freeze({ people: [], isKnown: false, anonymous: 0 });

/**
 * Follow the people in a channel, as long as the component is mounted.
 *
 * It also takes the options of `useSSE`. Without `url`, it opens a stream of that channel. The
 * URL of a stream with more channels needs `presence=1`.
 *
 * @template [Data=any]
 * @param {string} channel
 * @param {UseSSEOptions} [options]
 * @returns {Presence<Data>}
 */
export function usePresence(channel, options = {}) {
  const own = `/events?${new URLSearchParams({ channel, presence: "1" })}`;
  const { url = own } = options;
  const given = { ...options, url };
  const key = keyOf(/** @type {UseSSEOptions} */ ({ ...given, channel }));
  const [seen, setSeen] = useState(
    /** @type {Pick<Presence<Data>, "people" | "isKnown" | "anonymous"> & {key?: any}} */ (
      NOBODY
    ),
  );
  const sse = useStream(given, key, (stream) => {
    setSeen(NOBODY);
    stream.presence(channel, {
      onChange: (people) => {
        const { isKnown, anonymous } = people;
        setSeen({ key, people: [...people.values()], isKnown, anonymous });
      },
    });
  });
  // People of the previous channel are never shown.
  const { people, isKnown, anonymous } = seen.key === key ? seen : NOBODY;
  return withStream({ people, isKnown, anonymous }, sse);
}

/**
 * Return the values with those of a stream. A spread would read the stream's state, as if
 * the component had.
 *
 * @template Values
 * @param {Values} values
 * @param {SSE<any>} sse
 * @returns {Values & SSE}
 */
function withStream(values, sse) {
  return Object.defineProperties(
    /** @type {Values & SSE} */ (values),
    Object.getOwnPropertyDescriptors(sse),
  );
}

const NO_ANSWER = Object.freeze({ state: "idle", text: "", progress: null, end: null });

/**
 * Follow an answer that outlives its reader, as long as the component is mounted.
 *
 * It also takes the options of `answer()`. `start()` asks for an answer. With `key`, the
 * component goes on by itself with the answer that this tab has under that key. The latest
 * options are used.
 *
 * @param {string | URL} url
 * @param {StartOptions} [options]
 * @returns {FollowedAnswer}
 */
export function useAnswer(url, options = {}) {
  const { key } = options;
  const latest = useRef({ url, options });
  const followed = useRef(/** @type {Answer | null} */ (null));
  const [seen, setSeen] = useState(
    /** @type {Omit<FollowedAnswer, "start" | "stop">} */ (NO_ANSWER),
  );
  useInsertionEffect(() => {
    latest.current = { url, options };
  });
  const follow = useCallback(
    (/** @type {(url: string | URL, options: StartOptions) => Answer | null} */ open) => {
      followed.current?.close();
      setSeen(NO_ANSWER);
      const show = () => {
        if (!opened || followed.current !== opened) return;
        const { state, text, progress, end } = opened;
        setSeen({ state, text, progress, end });
      };
      const { url, options } = latest.current;
      /** @type {StartOptions} */
      const handlers = {
        onPart: (...part) => latest.current.options.onPart?.(...part),
      };
      for (const name of /** @type {const} */ (["onText", "onProgress", "onEnd"]))
        handlers[name] = (/** @type {any} */ value) => {
          show();
          latest.current.options[name]?.(value);
        };
      const opened = (followed.current = open(url, { ...options, ...handlers }));
      show();
    },
    [],
  );
  useEffect(() => {
    if (key !== undefined) follow((_, options) => resume(options));
    return () => {
      followed.current?.close();
      followed.current = null;
      // React may keep the state of a hidden component and show the component again later.
      setSeen(NO_ANSWER);
    };
  }, [key, follow]);
  const start = useCallback(
    (/** @type {Pick<StartOptions, "method" | "body" | "headers">} */ request = {}) =>
      follow((url, options) => answer(url, { ...options, ...request })),
    [follow],
  );
  const stop = useCallback(async () => followed.current?.stop(), []);
  return { ...seen, start, stop };
}
