// The types of the hooks for React. Contains no code.

import type { Answer } from "./answer.js";
import type { AnswerEnd, Progress, StartOptions } from "./answer-types.js";
import type { Control, Seen, UseSSEOptions } from "./component-types.js";
import type { Person } from "./presence-types.js";
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

/** The result of `usePresence()`. */
export interface Presence<Data = any> extends SSE {
  /** The people in the channel. */
  readonly people: readonly Person<Data>[];
  /** Whether the server has sent the list. */
  readonly isKnown: boolean;
  /** The number of streams without a login when the list came. */
  readonly anonymous: number;
}

/** The result of `useAnswer()`. */
export interface FollowedAnswer {
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
