// The public types of the client. Contains no code.

import type { EventStream } from "./stream.js";

/** Events of any type with any data, as long as an app does not declare its own. */
export type AnyEvents = any;

/** The data of the event `connected`, with which a stream begins. */
export interface Greeting {
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
export interface Reset {
  /** `interrupted`: the connection broke before the page had all of its first state. */
  reason: "expired" | "epoch" | "ahead" | "malformed" | "interrupted";
  /** Whether the newest event of each key follows. */
  state?: boolean;
}

/** The data of the event `subscribed`, with which changed channels begin. */
export interface Subscribed {
  channels: string[];
  /** The names that were neither added nor left. */
  refused?: string[];
  /** The new channels whose events since the id are gone from history. */
  reset?: Reset & { channels: string[] };
  /** The people of channels that were asked for. `presence()` makes a map of them. */
  presence?: Record<string, { people: object[]; anonymous: number }>;
}

/** The place after which new channels begin: the id of an event. */
export interface Since {
  since?: string | undefined;
}

/** The hub's own events. */
export interface HubEvents {
  connected: Greeting;
  subscribed: Subscribed;
  /** `ts` is the server's time in seconds since 1970. */
  ping: { ts: number };
  reset: Reset;
}

/** The events of an app and those of the hub. An app may declare the hub's otherwise. */
export type AllEvents<Events> = Omit<HubEvents, keyof Events> & Events;

/** The types of events for which a handler can be registered. */
export type EventType<Events> = (keyof AllEvents<Events> & string) | "*";

/** An event as handlers receive it. */
export type StreamEvent<
  Events = AnyEvents,
  Type extends keyof Events & string = keyof Events & string,
> = {
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
export type Handler<Data = any, Event = StreamEvent> = (data: Data, event: Event) => void;

/** The handler of one type of event; `"*"` stands for all types. */
export type HandlerOf<Events, Type extends EventType<Events>> = Type extends "*"
  ? Handler<any, StreamEvent<AllEvents<Events>>>
  : Type extends keyof AllEvents<Events> & string
    ? Handler<AllEvents<Events>[Type], StreamEvent<AllEvents<Events>, Type>>
    : never;

/** Handlers by event type; `"*"` stands for all types. */
export type Handlers<Events = AnyEvents> = {
  [Type in EventType<Events>]?: HandlerOf<Events, Type> | undefined;
};

/** The state of a stream. */
export type State = "connecting" | "open" | "reconnecting" | "closed";

/** The reasons that end a stream. */
export type FinalReason =
  | "unauthorized"
  | "forbidden"
  | "bad-request"
  | "no-content"
  | "not-a-stream"
  | "user-changed";

/** The reasons after which the client connects again by itself. */
export type PassingReason =
  "network" | "busy" | "unavailable" | "silent" | "ticket" | "hidden";

/** The reason why a stream is not open. */
export type ErrorReason = FinalReason | PassingReason;

/** The way in which a stream shares its connection with other tabs. */
export interface Sharing {
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
export type Ticket = () => string | null | undefined | Promise<string | null | undefined>;

/** The request for the stream. */
export interface RequestOptions {
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
export interface StreamOptions<Events extends object = AnyEvents> {
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
export interface Options<Events extends object = AnyEvents>
  extends StreamOptions<Events>, RequestOptions {}
