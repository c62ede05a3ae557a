import { AnyEvents, Handlers, State, StreamError, StreamEvent, Options } from './sse-hub.js';
export { Options, StreamEvent } from './sse-hub.js';
import { ComputedRef, MaybeRefOrGetter } from 'vue';

/** A stream as a component sees it. */
interface Seen<Events extends object = AnyEvents> {
    readonly isConnected: boolean;
    readonly state: State;
    /** The reason why the stream is not open. */
    readonly error: StreamError | null;
    /**
     * The last event of the app. Each event updates the component; events that arrive
     * together may update it only once.
     */
    readonly lastEvent: StreamEvent<Events> | null;
}
/** The functions with which a component opens and closes its stream. */
interface Control {
    /** Connect again at once. A stream that was closed resumes from its last event. */
    readonly reconnect: () => void;
    /** Close the stream until `reconnect()`. */
    readonly closeConnection: () => void;
}
/** The options that components have instead of `on` and `onState`. */
interface SSEOptions<Events extends object = AnyEvents> {
    /**
     * The stream's URL; null opens no stream. Without it, the URL is the one that the server
     * wrote into the page.
     */
    url?: string | URL | null | undefined;
    /** Handlers by event type; `"*"` stands for all types. The latest ones are called. */
    eventHandlers?: Handlers<Events> | undefined;
}
/** The options of a component's stream. */
interface UseSSEOptions<Events extends object = AnyEvents> extends SSEOptions<Events>, Omit<Options<Events>, "on" | "onState"> {
}

/** The result of `useSSE()`. */
type SSERefs<Events extends object = AnyEvents> = Control & {
    readonly [Name in keyof Seen<Events>]: ComputedRef<Seen<Events>[Name]>;
};

/**
 * Keep a stream open as long as the component or the effect scope exists.
 *
 * The options are an object, a ref or a getter. The stream is replaced if an option has
 * changed, such as `url`, `shared` or the request (`method`, `headers`, `body`,
 * `credentials`). After `closeConnection()` the stream stays closed. `reconnect()` resumes
 * it.
 */
declare function useSSE<Events extends object = any>(options?: MaybeRefOrGetter<UseSSEOptions<Events>>): SSERefs<Events>;

export { type Control, type SSEOptions, type SSERefs, type Seen, type UseSSEOptions, useSSE };
