// The types of the hooks for React. Contains no code.

import type { Control, Seen, UseSSEOptions } from "./component-types.js";
import type { AnyEvents } from "./types.js";

/** The result of `useSSE()`. */
export interface SSE<Events extends object = AnyEvents> extends Seen<Events>, Control {}

/** The options of `useDashboardSSE()`. */
export interface DashboardOptions<Data> extends UseSSEOptions {
  /** The type of the events that contain the state. */
  type?: string | undefined;
  /** The state with which the page was rendered. */
  initial?: Data | undefined;
  /** Loads the state after events were lost. */
  load?: (() => Promise<Data>) | undefined;
}

/** The result of `useDashboardSSE()`. */
export interface Dashboard<Data> extends SSE {
  readonly data: Data;
  /** The time of the last change, null for the initial state. */
  readonly updatedAt: Date | null;
}
