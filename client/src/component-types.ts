// The types that the hooks for React and Vue and the store for Svelte have in common.
// Contains no code.

import type { StreamError } from "./errors.js";
import type { AnyEvents, Handlers, Options, State, StreamEvent } from "./types.js";

/** A stream as a component sees it. */
export interface Seen<Events extends object = AnyEvents> {
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
export interface Control {
  /** Connect again at once. A stream that was closed resumes from its last event. */
  readonly reconnect: () => void;
  /** Close the stream until `reconnect()`. */
  readonly closeConnection: () => void;
}

/** The options that components have instead of `on` and `onState`. */
export interface SSEOptions<Events extends object = AnyEvents> {
  /**
   * The stream's URL; null opens no stream. Without it, the URL is the one that the server
   * wrote into the page.
   */
  url?: string | URL | null | undefined;
  /** Handlers by event type; `"*"` stands for all types. The latest ones are called. */
  eventHandlers?: Handlers<Events> | undefined;
}

/** The options of a component's stream. */
export interface UseSSEOptions<Events extends object = AnyEvents>
  extends SSEOptions<Events>, Omit<Options<Events>, "on" | "onState"> {}
