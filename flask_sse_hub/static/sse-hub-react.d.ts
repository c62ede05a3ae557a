import * as __index_js from './sse-hub.js';

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
declare function useSSE(options?: UseSSEOptions): SSE;
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
 * what a component sees of its stream
 */
type SSE = {
    isConnected: boolean;
    state: __index_js.State;
    /**
     * why it is not connected
     */
    error: __index_js.StreamError | null;
    /**
     * of the app; the component is rendered for each,
     * and React joins those that come together
     */
    lastEvent: StreamEvent | null;
    reconnect: () => void;
    closeConnection: () => void;
};
type SSEOptions = {
    /**
     * null opens no stream; left out it is the page's
     */
    url?: string | URL | null | undefined;
    /**
     * by event type; those of the latest rendering
     * are called, so they need not be memoized
     */
    eventHandlers?: Options["on"];
};
type UseSSEOptions = SSEOptions & Omit<Options, "on" | "onState">;

export { type Options, type SSE, type SSEOptions, type StreamEvent, type UseSSEOptions, useDashboardSSE, useSSE };
