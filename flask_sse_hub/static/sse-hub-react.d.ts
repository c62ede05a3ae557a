import { AnyEvents, State, StreamError, StreamEvent, Handlers, Options, Person } from './sse-hub.js';
export { Options, StreamEvent } from './sse-hub.js';
import { Answer, Progress, AnswerEnd, StartOptions } from './sse-hub-answer.js';

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
interface SSE<Events extends object = AnyEvents> extends Seen<Events>, Control {
}
/** The options of `useDashboardSSE()`. */
interface DashboardOptions<Data> extends UseSSEOptions {
    /** The type of the events that contain the state. */
    type?: string | undefined;
    /** The state with which the page was rendered. */
    initial?: Data | undefined;
    /** Loads the state after events were lost. */
    load?: (() => Promise<Data>) | undefined;
}
/** The result of `useDashboardSSE()`. */
interface Dashboard<Data> extends SSE {
    readonly data: Data;
    /** The time of the last change, null for the initial state. */
    readonly updatedAt: Date | null;
}
/** The result of `usePresence()`. */
interface Presence<Data = any> extends SSE {
    /** The people in the channel. */
    readonly people: readonly Person<Data>[];
    /** Whether the server has sent the list. */
    readonly isKnown: boolean;
    /** The number of streams without a login when the list came. */
    readonly anonymous: number;
}
/** The result of `useAnswer()`. */
interface FollowedAnswer {
    /** `idle`: there is no answer yet. */
    readonly state: "idle" | Answer["state"];
    /** The text so far. */
    readonly text: string;
    readonly progress: Progress | null;
    /** The end, null before it. */
    readonly end: AnswerEnd | null;
    /** Ask for an answer. It replaces the one before, which goes on on the server. */
    readonly start: (request?: Pick<StartOptions, "method" | "body" | "headers">) => void;
    /** Stop the answer for all its readers. Rejects if the server refuses. */
    readonly stop: () => Promise<void>;
}

/**
 * Keep a stream open as long as the component is mounted.
 *
 * The stream is replaced if an option has changed, such as `url`, `shared` or the request
 * (`method`, `headers`, `body`, `credentials`). Changed handlers, `clientId` and
 * `lastEventId` do not replace it. Objects may be written inline, because their contents
 * are compared. After `closeConnection()` the stream stays closed. `reconnect()` resumes
 * it.
 */
declare function useSSE<Events extends object = any>(options?: UseSSEOptions<Events>): SSE<Events>;
/**
 * Keep the newest state of a dashboard. Each event must contain the whole state.
 *
 * It also takes the options of `useSSE`. `initial` is the state with which the page was
 * rendered. `load` loads the state again after events were lost.
 */
declare function useDashboardSSE<T>(options: DashboardOptions<T> & {
    initial: T;
}): Dashboard<T>;
/**
 * Keep the newest state of a dashboard, which is undefined until the first event.
 */
declare function useDashboardSSE<T>(options?: DashboardOptions<T> | undefined): Dashboard<T | undefined>;
/**
 * Follow the people in a channel, as long as the component is mounted.
 *
 * It also takes the options of `useSSE`. Without `url`, it opens a stream of that channel. The
 * URL of a stream with more channels needs `presence=1`.
 */
declare function usePresence<Data = any>(channel: string, options?: UseSSEOptions): Presence<Data>;
/**
 * Follow an answer that outlives its reader, as long as the component is mounted.
 *
 * It also takes the options of `answer()`. `start()` asks for an answer. With `key`, the
 * component goes on by itself with the answer that this tab has under that key. The latest
 * options are used.
 */
declare function useAnswer(url: string | URL, options?: StartOptions): FollowedAnswer;

export { type Control, type Dashboard, type DashboardOptions, type FollowedAnswer, type Presence, type SSE, type SSEOptions, type Seen, type UseSSEOptions, useAnswer, useDashboardSSE, usePresence, useSSE };
