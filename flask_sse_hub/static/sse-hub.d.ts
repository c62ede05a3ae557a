/**
 * The reasons that end a stream, and those after which the client tries again.
 *
 * @typedef {"unauthorized" | "forbidden" | "bad-request" | "no-content" | "not-a-stream"
 *   | "user-changed"} Final
 * @typedef {"network" | "busy" | "unavailable" | "silent" | "ticket" | "hidden"} Passing
 */
/** The error that explains why a stream is not open. Its `reason` is a single word. */
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
    /** The HTTP status of the refusal, if there was one. @type {number | undefined} */
    status: number | undefined;
    /** Whether the error ends the stream. @type {boolean | undefined} */
    final: boolean | undefined;
    /** The seconds to wait, as the server asks. @type {number | undefined} */
    retryAfter: number | undefined;
    reason: Final | Passing;
}
/**
 * The reasons that end a stream, and those after which the client tries again.
 */
type Final = "unauthorized" | "forbidden" | "bad-request" | "no-content" | "not-a-stream" | "user-changed";
/**
 * The reasons that end a stream, and those after which the client tries again.
 */
type Passing = "network" | "busy" | "unavailable" | "silent" | "ticket" | "hidden";

/**
 * Returns the ticket for the next request. Without a ticket the stream ends.
 */
type Ticket = () => string | null | undefined | Promise<string | null | undefined>;
/**
 * An event as the server sent it.
 */
type State$1 = "connecting" | "open" | "reconnecting" | "closed";
/**
 * the request for the stream
 */
type RequestOptions = {
    method?: string | undefined;
    headers?: HeadersInit | undefined;
    /**
     * whether the stream begins with the newest event of each key
     */
    state?: boolean | undefined;
    /**
     * sent again with each attempt, so it cannot be a stream
     */
    body?: BodyInit | undefined;
    credentials?: RequestCredentials | undefined;
    /**
     * called before each attempt
     */
    ticket?: Ticket | undefined;
    /**
     * seconds between heartbeats, if `connected` does not say
     */
    heartbeat?: number | undefined;
};

/**
 * An event as handlers receive it. `data` is the decoded `text` if that is JSON, otherwise
 * the text itself. `state` tells that it is the value of a key from before the stream began.
 *
 * @typedef {{type: string, data: any, text: string, id: string, state?: boolean}}
 *   StreamEvent
 *
 * @typedef {(data: any, event: StreamEvent) => void} Handler
 *
 * @typedef {object} Sharing how the connection is shared with other tabs
 * @property {"alone" | "leader" | "follower"} role the leader has the connection
 * @property {string | null} problem why the connection is not shared, although `shared` is
 *   set
 * @property {string[]} apart URLs of other streams that this page or another tab had open
 *   when this one was opened, such as those of other channels. Each has a connection of
 *   its own
 *
 * @typedef {object} StreamOptions the options of a stream
 * @property {Record<string, Handler>} [on] handlers by event type; `"*"` stands for all
 *   types
 * @property {(stream: EventStream) => void} [onState] called when the state has changed
 * @property {(reset: {reason: string, state?: boolean}) => void} [onReset] called when
 *   missed events are gone from history: load the page's state again. With `state`, the
 *   newest event of each key follows
 * @property {string} [lastEventId] the cursor after which the stream begins, as returned by
 *   `sse_hub.cursor()`
 * @property {string} [clientId] the client's id, as returned by `sse_hub.client_id()`
 * @property {string | number | null} [userId] the user who was logged in when the page was
 *   rendered
 * @property {boolean} [shared] whether all tabs share one connection
 * @property {boolean | number} [pauseWhenHidden] whether the stream pauses while the page
 *   is hidden; a number is the delay in seconds before it pauses
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
    /** The reason why it is not open, null if there is none. @type {StreamError | null} */
    error: StreamError | null;
    /** The last event of the app. @type {StreamEvent | null} */
    lastEvent: StreamEvent$1 | null;
    /** The client's id on the server. @type {string | undefined} */
    clientId: string | undefined;
    /** The user who is logged in, null for nobody. @type {string | null} */
    userId: string | null;
    /** The id of the last event. The stream resumes with it. */
    get lastEventId(): string;
    /** @returns {Sharing} */
    get sharing(): Sharing$1;
    /**
     * Call a handler with each event of a type, or with every event for `"*"`. Returns a
     * function that removes the handler.
     *
     * @param {string} type
     * @param {Handler} handler
     * @returns {() => void}
     */
    on(type: string, handler: Handler): () => void;
    /**
     * Call a handler whenever the state has changed. Returns a function that removes it.
     *
     * @param {(stream: EventStream) => void} handler
     * @returns {() => void}
     */
    onState(handler: (stream: EventStream) => void): () => void;
    /** Connect again at once, also after an error has ended the stream. */
    reconnect(): void;
    /** End the stream for good. */
    close(): void;
    /**
     * Iterate over all events from now on, until the stream is closed.
     *
     * Throws the StreamError that closes the stream. Throws an Error if the loop is far too
     * slow.
     *
     * @returns {AsyncGenerator<StreamEvent, void, void>}
     */
    [Symbol.asyncIterator](): AsyncGenerator<StreamEvent$1, void, void>;
    #private;
}
/**
 * An event as handlers receive it. `data` is the decoded `text` if that is JSON, otherwise
 * the text itself. `state` tells that it is the value of a key from before the stream began.
 */
type StreamEvent$1 = {
    type: string;
    data: any;
    text: string;
    id: string;
    state?: boolean;
};
/**
 * An event as handlers receive it. `data` is the decoded `text` if that is JSON, otherwise
 * the text itself. `state` tells that it is the value of a key from before the stream began.
 */
type Handler = (data: any, event: StreamEvent$1) => void;
/**
 * how the connection is shared with other tabs
 */
type Sharing$1 = {
    /**
     * the leader has the connection
     */
    role: "alone" | "leader" | "follower";
    /**
     * why the connection is not shared, although `shared` is
     * set
     */
    problem: string | null;
    /**
     * URLs of other streams that this page or another tab had open
     * when this one was opened, such as those of other channels. Each has a connection of
     * its own
     */
    apart: string[];
};
/**
 * the options of a stream
 */
type StreamOptions = {
    /**
     * handlers by event type; `"*"` stands for all
     * types
     */
    on?: Record<string, Handler> | undefined;
    /**
     * called when the state has changed
     */
    onState?: ((stream: EventStream) => void) | undefined;
    /**
     * called when
     * missed events are gone from history: load the page's state again. With `state`, the
     * newest event of each key follows
     */
    onReset?: ((reset: {
        reason: string;
        state?: boolean;
    }) => void) | undefined;
    /**
     * the cursor after which the stream begins, as returned by
     * `sse_hub.cursor()`
     */
    lastEventId?: string | undefined;
    /**
     * the client's id, as returned by `sse_hub.client_id()`
     */
    clientId?: string | undefined;
    /**
     * the user who was logged in when the page was
     * rendered
     */
    userId?: string | number | null | undefined;
    /**
     * whether all tabs share one connection
     */
    shared?: boolean | undefined;
    /**
     * whether the stream pauses while the page
     * is hidden; a number is the delay in seconds before it pauses
     */
    pauseWhenHidden?: number | boolean | undefined;
};
/**
 * An event as handlers receive it. `data` is the decoded `text` if that is JSON, otherwise
 * the text itself. `state` tells that it is the value of a key from before the stream began.
 */
type Options$1 = StreamOptions & RequestOptions;

/**
 * Open a stream. Without a URL, it uses the URL, client id, cursor and user that
 * `{{ sse_hub.script() }}` wrote into the page.
 *
 *     const stream = connect("/events?channel=news", { on: { story: (data) => show(data) } });
 *     const pages = connect({ shared: true });
 *
 * Throws TypeError if an option does not exist or has a value of another type.
 *
 * @param {string | URL | import("./stream.js").Options} [url] may be left out; the options
 *   then come first
 * @param {import("./stream.js").Options} [options]
 * @returns {EventStream}
 */
declare function connect(url?: string | URL | Options$1, options?: Options$1): EventStream;

type Options = Options$1;
type StreamEvent = StreamEvent$1;
type Sharing = Sharing$1;
type State = State$1;

export { EventStream, type Options, type Sharing, type State, StreamError, type StreamEvent, connect };
