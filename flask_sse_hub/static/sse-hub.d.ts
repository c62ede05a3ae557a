/**
 * What ends a stream, and what passes.
 *
 * @typedef {"unauthorized" | "forbidden" | "bad-request" | "no-content" | "not-a-stream"
 *   | "user-changed"} Final
 * @typedef {"network" | "busy" | "unavailable" | "silent" | "ticket" | "hidden"} Passing
 */
/** Why a stream is not open, by one word of `reason`. */
declare class StreamError extends Error {
    /**
     * @param {Final | Passing} reason
     * @param {string} message
     * @param {{status?: number, final?: boolean, retryAfter?: number}} [more]
     */
    constructor(reason: Final | Passing, message: string, more?: {
        status?: number;
        final?: boolean;
        retryAfter?: number;
    });
    /** The HTTP status, where it was one. @type {number | undefined} */
    status: number | undefined;
    /** Whether it ends the stream. @type {boolean | undefined} */
    final: boolean | undefined;
    /** The seconds that the server asks to wait. @type {number | undefined} */
    retryAfter: number | undefined;
    reason: Final | Passing;
}
/**
 * What ends a stream, and what passes.
 */
type Final = "unauthorized" | "forbidden" | "bad-request" | "no-content" | "not-a-stream" | "user-changed";
/**
 * What ends a stream, and what passes.
 */
type Passing = "network" | "busy" | "unavailable" | "silent" | "ticket" | "hidden";

/**
 * What says with which ticket to ask; to say none ends the stream.
 */
type Ticket = () => string | null | undefined | Promise<string | null | undefined>;
/**
 * An event as it came.
 */
type State$1 = "connecting" | "open" | "reconnecting" | "closed";
/**
 * how to ask for the stream
 */
type RequestOptions = {
    method?: string | undefined;
    headers?: Record<string, string> | undefined;
    /**
     * sent again at each attempt, so it cannot be a stream
     */
    body?: BodyInit | undefined;
    credentials?: RequestCredentials | undefined;
    /**
     * asked before each attempt
     */
    ticket?: Ticket | undefined;
    /**
     * seconds, where `connected` does not say them
     */
    heartbeat?: number | undefined;
};

/**
 * An event as handlers get it: `data` is parsed where `text` is JSON, otherwise the text.
 *
 * @typedef {{type: string, data: any, text: string, id: string}} StreamEvent
 *
 * @typedef {(data: any, event: StreamEvent) => void} Handler
 *
 * @typedef {object} Sharing with whom the connection is shared
 * @property {"alone" | "leader" | "follower"} role the leader has the connection
 * @property {string | null} problem why it is not shared though it was asked for
 * @property {string[]} apart addresses of streams that other tabs have of their own, as
 *   they listen to other channels
 *
 * @typedef {object} StreamOptions what a stream needs beside its address
 * @property {Record<string, Handler>} [on] handlers by event type; `"*"` is every event
 * @property {(stream: EventStream) => void} [onState] called when the state has changed
 * @property {(reset: {reason: string}) => void} [onReset] history does not reach back to
 *   what the page has seen: it has to load its state anew
 * @property {string} [lastEventId] the cursor to begin after, as `sse_hub.cursor()` said
 * @property {string} [clientId] what `sse_hub.client_id()` said
 * @property {string | number | null} [userId] who was logged in when the page was rendered
 * @property {boolean} [shared] whether all tabs share one connection
 * @property {boolean | number} [pauseWhenHidden] whether nothing is asked for while nobody
 *   sees the page; a number is the seconds after which that begins
 *
 * @typedef {StreamOptions & import("./connection.js").RequestOptions} Options
 */
declare class EventStream {
    /**
     * @param {URL} url
     * @param {Options} options
     */
    constructor(url: URL, options: Options$1);
    /** @type {import("./connection.js").State} */
    state: State$1;
    /** Why it is not open, null while it is or was never asked. @type {StreamError | null} */
    error: StreamError | null;
    /** The last event of the app. @type {StreamEvent | null} */
    lastEvent: StreamEvent$1 | null;
    /** The id that the server knows the stream by. @type {string | undefined} */
    clientId: string | undefined;
    /** Who is logged in, null for nobody. @type {string | null} */
    userId: string | null;
    /** The id of the last event, with which the stream would resume. */
    get lastEventId(): string;
    /** @returns {Sharing} */
    get sharing(): Sharing$1;
    /**
     * Have events of a type handled, every event for `"*"`. Returns what ends that.
     *
     * @param {string} type
     * @param {Handler} handler
     * @returns {() => void}
     */
    on(type: string, handler: Handler): () => void;
    /**
     * Be told when the state has changed. Returns what ends that.
     *
     * @param {(stream: EventStream) => void} handler
     * @returns {() => void}
     */
    onState(handler: (stream: EventStream) => void): () => void;
    /** Connect anew, now; also after an error has ended the stream. */
    reconnect(): void;
    /** End the stream for good. */
    close(): void;
    /**
     * Iterate over the events from now on, until the stream is closed.
     *
     * Throws the StreamError that closes it, and where the loop is too slow by far.
     *
     * @returns {AsyncGenerator<StreamEvent, void, void>}
     */
    [Symbol.asyncIterator](): AsyncGenerator<StreamEvent$1, void, void>;
    #private;
}
/**
 * An event as handlers get it: `data` is parsed where `text` is JSON, otherwise the text.
 */
type StreamEvent$1 = {
    type: string;
    data: any;
    text: string;
    id: string;
};
/**
 * An event as handlers get it: `data` is parsed where `text` is JSON, otherwise the text.
 */
type Handler = (data: any, event: StreamEvent$1) => void;
/**
 * with whom the connection is shared
 */
type Sharing$1 = {
    /**
     * the leader has the connection
     */
    role: "alone" | "leader" | "follower";
    /**
     * why it is not shared though it was asked for
     */
    problem: string | null;
    /**
     * addresses of streams that other tabs have of their own, as
     * they listen to other channels
     */
    apart: string[];
};
/**
 * what a stream needs beside its address
 */
type StreamOptions = {
    /**
     * handlers by event type; `"*"` is every event
     */
    on?: Record<string, Handler> | undefined;
    /**
     * called when the state has changed
     */
    onState?: ((stream: EventStream) => void) | undefined;
    /**
     * history does not reach back to
     * what the page has seen: it has to load its state anew
     */
    onReset?: ((reset: {
        reason: string;
    }) => void) | undefined;
    /**
     * the cursor to begin after, as `sse_hub.cursor()` said
     */
    lastEventId?: string | undefined;
    /**
     * what `sse_hub.client_id()` said
     */
    clientId?: string | undefined;
    /**
     * who was logged in when the page was rendered
     */
    userId?: string | number | null | undefined;
    /**
     * whether all tabs share one connection
     */
    shared?: boolean | undefined;
    /**
     * whether nothing is asked for while nobody
     * sees the page; a number is the seconds after which that begins
     */
    pauseWhenHidden?: number | boolean | undefined;
};
/**
 * An event as handlers get it: `data` is parsed where `text` is JSON, otherwise the text.
 */
type Options$1 = StreamOptions & RequestOptions;

/**
 * Open a stream. Without an address it is the one that `{{ sse_hub.script() }}` wrote into
 * the page, with its client id, cursor and user.
 *
 *     const stream = connect("/events?channel=news", { on: { story: (data) => show(data) } });
 *     const pages = connect({ shared: true });
 *
 * @param {string | URL | import("./stream.js").Options} [url] may be left out
 * @param {import("./stream.js").Options} [options]
 * @returns {EventStream}
 */
declare function connect(url?: string | URL | Options$1, options?: Options$1): EventStream;

type Options = Options$1;
type StreamEvent = StreamEvent$1;
type Sharing = Sharing$1;
type State = State$1;

export { EventStream, type Options, type Sharing, type State, StreamError, type StreamEvent, connect };
