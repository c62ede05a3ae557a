// The types of the store for Svelte. Contains no code.

import type { Readable } from "svelte/store";
import type { Control, Seen } from "./component-types.js";
import type { AnyEvents } from "./types.js";

/** The result of `sseStore()`. */
export interface SSEStore<Events extends object = AnyEvents>
  extends Readable<Seen<Events>>, Control {}
