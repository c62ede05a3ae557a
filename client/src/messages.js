// The types of everything that tabs send each other. Contains no code.

/**
 * @import { RawEvent } from "./connection.js"
 * @import { ErrorReason, State } from "./types.js"
 *
 * @typedef {{reason: ErrorReason, message: string, status?: number}} PlainError
 *
 * Between the tabs that share one stream. `to` names one tab; without it, all are meant.
 *
 * @typedef {{channels: string[]}} Channels those of the leader's connection
 *
 * @typedef {{kind: "join", from: string, after: string, channels: string[]}} Join to the
 *   leader: "I am here, want these channels, and have seen all events up to `after`"
 * @typedef {{kind: "ask"}} Ask to the leader: "are you there?"
 * @typedef {{kind: "reconnect"}} Reconnect to the leader: "connect again"
 * @typedef {{kind: "want", channels: string[]}} Want to the leader: the channels of a tab
 * @typedef {Channels & {kind: "event", event: RawEvent, before: string, to?: string}} Passed
 *   from the leader: an event, and the id right before it
 * @typedef {Channels & {kind: "state", state: State, error: PlainError | null, to?: string}}
 *   Told from the leader: the state of the connection
 * @typedef {Channels & {kind: "lead", to: string, at: string}} Lead from the leader, which is
 *   at a position: "I do not have all events that you want, so lead yourself"
 * @typedef {{kind: "who"}} Who from the leader: "which channels do you want?"
 * @typedef {{kind: "split"}} Split from the leader: "share only with tabs that have the same
 *   channels"
 * @typedef {Join | Ask | Want | Reconnect | Passed | Told | Lead | Who | Split} Message
 *
 * Between all tabs of the site, whatever their streams are.
 *
 * @typedef {{userId: string | null}} Notice the user who is logged in now
 */

export {};
