// The types of everything that tabs send each other. Contains no code.

/**
 * @import { RawEvent } from "./connection.js"
 * @import { ErrorReason, State } from "./types.js"
 *
 * @typedef {{reason: ErrorReason, message: string, status?: number}} PlainError
 *
 * Between the tabs that share one stream. `to` names one tab; without it, all are meant.
 *
 * @typedef {{kind: "join", from: string, after: string}} Join to the leader: "I am here and
 *   have seen all events up to `after`"
 * @typedef {{kind: "ask"}} Ask to the leader: "are you there?"
 * @typedef {{kind: "reconnect"}} Reconnect to the leader: "connect again"
 * @typedef {{kind: "event", event: RawEvent, before: string, to?: string}} Passed from the
 *   leader: an event, and the id right before it
 * @typedef {{kind: "state", state: State, error: PlainError | null, to?: string}} Told from
 *   the leader: the state of the connection
 * @typedef {{kind: "lead", to: string}} Lead from the leader: "I do not have all events
 *   that you missed, so lead yourself"
 * @typedef {Join | Ask | Reconnect | Passed | Told | Lead} Message
 *
 * Between all tabs of the site, whatever their streams are.
 *
 * @typedef {{userId: string | null}} Notice the user who is logged in now
 */

export {};
