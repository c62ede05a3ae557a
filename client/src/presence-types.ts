// The types of presence. Contains no code.

import type { People } from "./presence.js";

export type { People };

/** A person in a channel. */
export interface Person<Data = any> {
  user: string;
  /** Seconds since 1970. */
  since: number;
  /** The description that the app gave. */
  data: Data;
}

/** The options of `stream.presence()`. */
export interface PresenceOptions<Data = any> {
  /** Called when somebody came, left or changed, and when the list was replaced. */
  onChange?: ((people: People<Data>) => void) | undefined;
}
