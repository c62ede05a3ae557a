import { AnyEvents, Handlers, State, StreamError, StreamEvent, Options } from './sse-hub.js';
export { Options, StreamEvent } from './sse-hub.js';
import { Readable } from 'svelte/store';

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

/** The result of `sseStore()`. */
interface SSEStore<Events extends object = AnyEvents> extends Readable<Seen<Events>>, Control {
}

/**
 * Return a store that keeps a stream open as long as it has subscribers.
 *
 * All subscribers share the stream. After `closeConnection()` the stream stays closed.
 * `reconnect()` resumes it.
 */
declare function sseStore<Events extends object = any>(options?: UseSSEOptions<Events>): SSEStore<Events>;

export { type Control, type SSEOptions, type SSEStore, type Seen, type UseSSEOptions, sseStore };
