// The types of the composable for Vue. Contains no code.

import type { ComputedRef } from "vue";
import type { Control, Seen } from "./component-types.js";
import type { AnyEvents } from "./types.js";

/** The result of `useSSE()`. */
export type SSERefs<Events extends object = AnyEvents> = Control & {
  readonly [Name in keyof Seen<Events>]: ComputedRef<Seen<Events>[Name]>;
};
