// The reasons why a stream is not open. Knows statuses and headers. Does not know timers or
// tabs.

/**
 * The reasons that end a stream, and those after which the client tries again.
 *
 * @typedef {"unauthorized" | "forbidden" | "bad-request" | "no-content" | "not-a-stream"
 *   | "user-changed"} Final
 * @typedef {"network" | "busy" | "unavailable" | "silent" | "ticket" | "hidden"} Passing
 */

/** The error that explains why a stream is not open. Its `reason` is a single word. */
export class StreamError extends Error {
  /** The HTTP status of the refusal, if there was one. @type {number | undefined} */
  status;
  /** Whether the error ends the stream. @type {boolean | undefined} */
  final;
  /** The seconds to wait, as the server asks. @type {number | undefined} */
  retryAfter;

  /**
   * @param {Final | Passing} reason
   * @param {string} message
   * @param {{status?: number, final?: boolean, retryAfter?: number}} [more]
   */
  constructor(reason, message, more) {
    super(message);
    this.reason = reason;
    Object.assign(this, more);
  }
}

// Statuses after which the same request may succeed later.
const PASSING = [408, 425, 429];

/**
 * Return the error of a response that is not a stream, null if it is a stream.
 *
 * @param {Response} response
 * @param {number} now milliseconds since 1970
 * @returns {StreamError | null}
 */
export function errorOf({ status, headers }, now) {
  const error = (/** @type {Final | Passing} */ reason, final = true) => {
    const retryAfter = secondsOf(headers.get("Retry-After"), now);
    return new StreamError(reason, `the server answered ${status}`, {
      status,
      final,
      retryAfter,
    });
  };
  if (status === 204) return error("no-content");
  if (status === 401) return error("unauthorized");
  if (status === 403) return error("forbidden");
  if (status >= 500) return error("unavailable", false);
  if (PASSING.includes(status)) return error("busy", false);
  if (status >= 400) return error("bad-request");
  // A response of another type may be a login page to which the request was redirected.
  const isStream = headers.get("Content-Type")?.startsWith("text/event-stream");
  return isStream ? null : error("not-a-stream");
}

/**
 * Return the seconds of a Retry-After header. Its value is a number of seconds or a date.
 *
 * @param {string | null} text
 * @param {number} now milliseconds since 1970
 * @returns {number | undefined}
 */
export function secondsOf(text, now) {
  if (!text) return undefined;
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - now) / 1000;
  return seconds >= 0 ? seconds : undefined;
}
