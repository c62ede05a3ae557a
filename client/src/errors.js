// The reasons why a stream is not open. Knows statuses, headers and the bodies of refusals.
// Does not know timers or tabs.

import { jsonOf } from "./json.js";

/** @import { ErrorReason } from "./types.js" */

/** The error that explains why a stream is not open. Its `reason` is a single word. */
export class StreamError extends Error {
  /** The HTTP status of the refusal, if there was one. @readonly @type {number | undefined} */
  status;
  /** Whether the error ends the stream. @readonly @type {boolean | undefined} */
  final;
  /** The seconds to wait, as the server asks. @readonly @type {number | undefined} */
  retryAfter;

  /**
   * @param {ErrorReason} reason
   * @param {string} message
   * @param {{status?: number, final?: boolean, retryAfter?: number}} [more]
   */
  constructor(reason, message, more) {
    super(message);
    /** The reason in a single word. @readonly */
    this.reason = reason;
    Object.assign(this, more);
  }
}

/** The reasons of statuses. @type {Record<number, ErrorReason>} */
const REASONS = {
  204: "no-content",
  401: "unauthorized",
  403: "forbidden",
  408: "busy",
  425: "busy",
  429: "busy",
};

// The most characters of a refusal's text. Texts of a hub are shorter.
const MOST_TEXT = 1000;

/**
 * Return the error of a response that is not a stream, null if it is a stream.
 *
 * Its message has the reason that the body of the response gives. A hub answers
 * `{"error": "..."}`. A view of the app may answer with a text. Pages of HTML, such as those
 * of a proxy, give no reason.
 *
 * @param {Response} response
 * @param {number} [now] milliseconds since 1970
 * @returns {Promise<StreamError | null>}
 */
export async function errorOf(response, now = Date.now()) {
  const { status, headers } = response;
  const type = headers.get("Content-Type") ?? "";
  if (status === 200 && /^text\/event-stream\s*(;|$)/i.test(type)) return null;
  const reason =
    REASONS[status] ??
    (status >= 500 ? "unavailable" : status >= 400 ? "bad-request" : "not-a-stream");
  // A body that breaks off gives no reason, but the status says enough.
  const text = /plain|json/.test(type) ? await response.text().catch(() => "") : "";
  const said = jsonOf(text)?.error;
  const why = (typeof said === "string" ? said : text).slice(0, MOST_TEXT);
  // A response of another type may be a login page to which the request was redirected.
  return new StreamError(reason, `the server answered ${status}${why && `: ${why}`}`, {
    status,
    // After the others, the same request may succeed later.
    final: !/busy|unavail/.test(reason),
    retryAfter: secondsOf(headers.get("Retry-After"), now),
  });
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

/**
 * Throw the error of a request without an answer.
 *
 * Browsers do not say whether the server is away, or its answer lacks the headers of CORS.
 * In the second case a request whose answer nobody reads succeeds.
 *
 * @param {URL} url
 * @param {unknown} cause
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
export async function unreachable({ origin, pathname }, cause, signal) {
  const { origin: own = origin } = globalThis;
  if (own === origin || signal.aborted) throw cause;
  // Without the query, in which a ticket may be.
  await fetch(origin + pathname, {
    method: "HEAD",
    mode: "no-cors",
    credentials: "omit",
    signal,
  }).catch(() => {
    throw cause;
  });
  throw new StreamError(
    "network",
    `${cause}: ${origin} can be reached, but its answer has no CORS headers for ${own}`,
  );
}
