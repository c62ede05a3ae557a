import { EventStream } from './sse-hub.js';

/** A person in a channel. */
interface Person<Data = any> {
    user: string;
    /** Seconds since 1970. */
    since: number;
    /** The description that the app gave. */
    data: Data;
}
/** The options of `presence()`. */
interface PresenceOptions<Data = any> {
    /** Called when somebody came, left or changed, and when the list was replaced. */
    onChange?: ((people: People<Data>) => void) | undefined;
}

/**
 * Follow the people in a channel. The stream's URL needs `presence=1`.
 *
 *     const stream = connect("/events?channel=room.7&presence=1");
 *     const people = presence(stream, "room.7", { onChange: () => render([...people.values()]) });
 *
 * A stream that does not listen to the channel enters it. The list comes with the greeting of
 * a connection, or with the confirmation that the stream is in the channel. A connection of all
 * tabs cannot enter one: it connects again for the list.
 */
declare function presence<Data = any>(stream: EventStream<any>, channel: string, { onChange, ...others }?: PresenceOptions<Data>): People<Data>;
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

export { People, type Person, type PresenceOptions, presence };
