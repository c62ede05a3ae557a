// What tabs tell each other: types only.

/**
 * @typedef {import("./connection.js").RawEvent} RawEvent
 * @typedef {import("./connection.js").State} State
 * @typedef {import("./errors.js").StreamError} StreamError
 * @typedef {{reason: StreamError["reason"], message: string, status?: number}} PlainError
 *
 * Tabs with one stream. `to` names a tab, and is left out for all.
 *
 * @typedef {{kind: "join", from: string, after: string}} Join to the leader: "I am here,
 *   and have seen what came up to `after`"
 * @typedef {{kind: "ask"}} Ask to the leader: "are you there?"
 * @typedef {{kind: "reconnect"}} Reconnect to the leader
 * @typedef {{kind: "event", event: RawEvent, before: string, to?: string}} Passed an event,
 *   and the id that came right before it
 * @typedef {{kind: "state", state: State, error: PlainError | null, to?: string}} Told
 * @typedef {{kind: "lead", to: string}} Lead "I do not reach back so far: lead yourself"
 * @typedef {Join | Ask | Reconnect | Passed | Told | Lead} Message
 *
 * @typedef {{userId: string | null}} Notice who is logged in now, told to all tabs of the
 *   site, whatever they listen to
 */

export {};
