import * as __index_js from './sse-hub.js';

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
declare function useSSE(options?: UseSSEOptions): SSE;
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
declare function useDashboardSSE<T>({ url, type, initial, load, eventHandlers, onReset, ...options }?: UseSSEOptions & {
    type?: string;
    initial?: T;
    load?: () => Promise<T>;
}): SSE & {
    data: T | undefined;
    updatedAt: Date | null;
};
type Options = __index_js.Options;
type StreamEvent = __index_js.StreamEvent;
/**
 * the stream as a component sees it
 */
type SSE = {
    isConnected: boolean;
    state: __index_js.State;
    /**
     * why the stream is not open
     */
    error: __index_js.StreamError | null;
    /**
     * the last event of the app. Each event renders
     * the component; React renders once for events that arrive together
     */
    lastEvent: StreamEvent | null;
    reconnect: () => void;
    closeConnection: () => void;
};
type SSEOptions = {
    /**
     * null opens no stream. Without it, the URL is the
     * one that the server wrote into the page
     */
    url?: string | URL | null | undefined;
    /**
     * handlers by event type. The handlers of the
     * latest rendering are called, so they need not be memoized
     */
    eventHandlers?: Options["on"];
};
type UseSSEOptions = SSEOptions & Omit<Options, "on" | "onState">;

export { type Options, type SSE, type SSEOptions, type StreamEvent, type UseSSEOptions, useDashboardSSE, useSSE };
