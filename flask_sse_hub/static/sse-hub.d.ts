/// <reference lib="esnext.disposable" />
/** Events of any type with any data, as long as an app does not declare its own. */
type AnyEvents = any;
/** The data of the event `connected`, with which a stream begins. */
interface Greeting {
    client_id: string;
    user_id: string | null;
    channels: string[];
    /** The seconds between two signs of life. */
    heartbeat: number;
    /** Whether the stream continues right after the client's cursor. */
    resumed: boolean;
    /** In debug mode: the unknown names in the URL's query. */
    warnings?: string[];
}
/** The data of the event `reset`: the page may show what is no longer true. */
interface Reset {
    /** `interrupted`: the connection broke before the page had all of its first state. */
    reason: "expired" | "epoch" | "ahead" | "malformed" | "interrupted";
    /** Whether the newest event of each key follows. */
    state?: boolean;
}
/** The data of the event `subscribed`, with which changed channels begin. */
interface Subscribed {
    channels: string[];
    /** The names that were neither added nor left. */
    refused?: string[];
    /** The new channels whose events since the id are gone from history. */
    reset?: Reset & {
        channels: string[];
    };
    /** The people of channels that were asked for. `presence()` makes a map of them. */
    presence?: Record<string, {
        people: object[];
        anonymous: number;
    }>;
}
/** The place after which new channels begin: the id of an event. */
interface Since {
    since?: string | undefined;
}
/** The hub's own events. */
interface HubEvents {
    connected: Greeting;
    subscribed: Subscribed;
    /** `ts` is the server's time in seconds since 1970. */
    ping: {
        ts: number;
    };
    reset: Reset;
}
/** The events of an app and those of the hub. An app may declare the hub's otherwise. */
type AllEvents<Events> = Omit<HubEvents, keyof Events> & Events;
/** The types of events for which a handler can be registered. */
type EventType<Events> = (keyof AllEvents<Events> & string) | "*";
/** An event as handlers receive it. */
type StreamEvent<Events = AnyEvents, Type extends keyof Events & string = keyof Events & string> = {
    [Each in Type]: {
        type: Each;
        /** The decoded `text` if it is JSON, otherwise the text itself. */
        data: Events[Each];
        text: string;
        /** The cursor after this event. */
        id: string;
        /** Whether it is the value of a key from before the stream began. */
        state?: boolean;
        /** The channel to which alone it was published. */
        channel?: string | undefined;
        /** Its own id, if it is from before the stream listened to its channel. */
        earlier?: string | undefined;
    };
}[Type];
/** A handler of an event. It receives the event's data, and the event. */
type Handler<Data = any, Event = StreamEvent> = (data: Data, event: Event) => void;
/** The handler of one type of event; `"*"` stands for all types. */
type HandlerOf<Events, Type extends EventType<Events>> = Type extends "*" ? Handler<any, StreamEvent<AllEvents<Events>>> : Type extends keyof AllEvents<Events> & string ? Handler<AllEvents<Events>[Type], StreamEvent<AllEvents<Events>, Type>> : never;
/** Handlers by event type; `"*"` stands for all types. */
type Handlers<Events = AnyEvents> = {
    [Type in EventType<Events>]?: HandlerOf<Events, Type> | undefined;
};
/** The state of a stream. */
type State = "connecting" | "open" | "reconnecting" | "closed";
/** The reasons that end a stream. */
type FinalReason = "unauthorized" | "forbidden" | "bad-request" | "no-content" | "not-a-stream" | "user-changed";
/** The reasons after which the client connects again by itself. */
type PassingReason = "network" | "busy" | "unavailable" | "silent" | "ticket" | "hidden";
/** The reason why a stream is not open. */
type ErrorReason = FinalReason | PassingReason;
/** The way in which a stream shares its connection with other tabs. */
interface Sharing {
    /** The leader has the connection. */
    readonly role: "alone" | "leader" | "follower";
    /** The reason why the connection is not shared, although `shared` is set. */
    readonly problem: string | null;
    /**
     * URLs of other streams that this page or another tab had open when this one was opened,
     * such as those of other addresses. Each has a connection of its own.
     */
    readonly apart: readonly string[];
}
/** Returns the ticket for the next request. Without a ticket the stream ends. */
type Ticket = () => string | null | undefined | Promise<string | null | undefined>;
/** The request for the stream. */
interface RequestOptions {
    /** Whether the stream begins with the newest event of each key. */
    state?: boolean | undefined;
    method?: string | undefined;
    headers?: HeadersInit | undefined;
    /** Sent again with each attempt, so it cannot be a stream. */
    body?: BodyInit | null | undefined;
    credentials?: RequestCredentials | undefined;
    /** Called before each attempt. */
    ticket?: Ticket | undefined;
    /** The seconds between heartbeats, if `connected` does not say. */
    heartbeat?: number | undefined;
}
/** The options of a stream that do not concern its request. */
interface StreamOptions<Events extends object = AnyEvents> {
    /** Handlers by event type; `"*"` stands for all types. */
    on?: Handlers<Events> | undefined;
    /** Called when the state has changed. */
    onState?: ((stream: EventStream<Events>) => void) | undefined;
    /** Called when missed events are gone from history: load the page's state again. */
    onReset?: ((reset: Reset) => void) | undefined;
    /** Closes the stream when it is aborted. */
    signal?: AbortSignal | undefined;
    /** The cursor after which the stream begins, as returned by `sse_hub.cursor()`. */
    lastEventId?: string | undefined;
    /** The client's id, as returned by `sse_hub.client_id()`. */
    clientId?: string | undefined;
    /** The user who was logged in when the page was rendered. */
    userId?: string | number | null | undefined;
    /** Whether all tabs share one connection. */
    shared?: boolean | undefined;
    /**
     * Whether the stream pauses while the page is hidden; a number is the delay in seconds
     * before it pauses.
     */
    pauseWhenHidden?: boolean | number | undefined;
}
/** The options of `connect()`. */
interface Options<Events extends object = AnyEvents> extends StreamOptions<Events>, RequestOptions {
}

/** The error that explains why a stream is not open. Its `reason` is a single word. */
declare class StreamError extends Error {
    constructor(reason: ErrorReason, message: string, more?: {
        status?: number;
        final?: boolean;
        retryAfter?: number;
    });
    /** The HTTP status of the refusal, if there was one. */
    readonly status: number | undefined;
    /** Whether the error ends the stream. */
    readonly final: boolean | undefined;
    /** The seconds to wait, as the server asks. */
    readonly retryAfter: number | undefined;
    /** The reason in a single word. */
    readonly reason: ErrorReason;
}

/**
 * The people in a channel, by the ids of their users.
 */
declare class People<Data = any> extends Map<string, Person<Data>> {
    constructor(stream: EventStream<any>, channel: string, handler: ((people: People<Data>) => void) | undefined);
    /** Whether the server has sent the list. */
    readonly isKnown: boolean;
    /** The number of streams without a login when the list came. */
    readonly anonymous: number;
    /**
     * Call a handler after each change. Returns a function that removes the handler.
     */
    onChange(handler: (people: People<Data>) => void): () => void;
    /** Follow the stream no longer. */
    close(): void;
    #private;
}

/** A person in a channel. */
interface Person<Data = any> {
    user: string;
    /** Seconds since 1970. */
    since: number;
    /** The description that the app gave. */
    data: Data;
}
/** The options of `stream.presence()`. */
interface PresenceOptions<Data = any> {
    /** Called when somebody came, left or changed, and when the list was replaced. */
    onChange?: ((people: People<Data>) => void) | undefined;
}

/**
 * A stream, as `connect()` opens it.
 */
declare class EventStream<Events extends object = any> {
    constructor(url: URL, options: Options<any>);
    /** Whether it is open, or what it does instead. */
    readonly state: State;
    /** The reason why it is not open, null if there is none. */
    readonly error: StreamError | null;
    /** The last event of the app. */
    readonly lastEvent: StreamEvent<Events> | null;
    /** The client's id on the server. */
    readonly clientId: string | undefined;
    /** The user who is logged in, null for nobody. */
    readonly userId: string | null;
    /** The id of the last event. The stream resumes with it. */
    get lastEventId(): string;
    /** The way in which tabs share its connection. */
    get sharing(): Sharing;
    /**
     * Call a handler with every event. Returns a function that removes the handler.
     */
    on(type: "*", handler: Handler<any, StreamEvent<AllEvents<Events>>>): () => void;
    /**
     * Call a handler with each event of a type. Returns a function that removes it.
     */
    on<Type extends keyof AllEvents<Events> & string>(type: Type, handler: HandlerOf<Events, Type>): () => void;
    /**
     * Call a handler whenever the state has changed. Returns a function that removes it.
     */
    onState(handler: (stream: this) => void): () => void;
    /**
     * Listen to more channels on the open connection. The event `subscribed` confirms it.
     * Rejects with a StreamError if the server refuses.
     *
     *     stream.subscribe("room.8", { since: id });
     *
     * With an id, the events of the new channels after it come first.
     */
    subscribe(...channels: (string | Since)[]): Promise<void>;
    /**
     * Leave channels, without another connection. The event `subscribed` confirms it.
     */
    unsubscribe(...channels: string[]): Promise<void>;
    /**
     * Follow the people in a channel. The stream's URL needs `presence=1`.
     *
     *     const stream = connect("/events?channel=room.7&presence=1");
     *     const people = stream.presence("room.7", { onChange: () => render([...people.values()]) });
     *
     * A stream that does not listen to the channel enters it. The list comes with the greeting of
     * a connection, or with the confirmation that the stream is in the channel. A connection of all
     * tabs cannot enter one: it connects again for the list.
     */
    presence<Data = any>(channel: string, options?: PresenceOptions<Data>): People<Data>;
    /** Connect again at once, also after an error has ended the stream. */
    reconnect(): void;
    /** End the stream for good. */
    close(): void;
    /** End the stream for good, at the end of a block with `using`. */
    [Symbol.dispose](): void;
    /**
     * Iterate over all events from now on, until the stream is closed.
     *
     * Throws the StreamError that closes the stream. Throws an Error if the loop is far too
     * slow.
     */
    [Symbol.asyncIterator](): AsyncGenerator<StreamEvent<AllEvents<Events>>, void, void>;
    #private;
}

/**
 * Open a stream. Without a URL, it uses the URL, client id, cursor and user that
 * `{{ sse_hub.script() }}` wrote into the page.
 *
 *     const stream = connect("/events?channel=news", { on: { story: (data) => show(data) } });
 *     const pages = connect({ shared: true });
 *
 * The URL may be left out; the options then come first. `Events` declares the data of each
 * type of event.
 * Where a server renders the page, a relative URL opens nothing.
 *
 * Throws TypeError if an option does not exist or has a value of another type.
 */
declare function connect<Events extends object = any>(url?: string | URL | null | Options<Events>, options?: Options<Events>): EventStream<Events>;

export { type AllEvents, type AnyEvents, type ErrorReason, EventStream, type EventType, type FinalReason, type Greeting, type Handler, type HandlerOf, type Handlers, type HubEvents, type Options, type PassingReason, People, type Person, type PresenceOptions, type RequestOptions, type Reset, type Sharing, type Since, type State, StreamError, type StreamEvent, type StreamOptions, type Subscribed, type Ticket, connect };
