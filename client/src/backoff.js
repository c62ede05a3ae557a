// How long to wait before the next attempt. Pure.

// What the server has not said: a delay to begin with, and the longest one.
export const FIRST_DELAY = 3;
const LONGEST_DELAY = 30;

// Where the server says less, failures are not answered by attempts in a row.
const LEAST_AFTER_FAILURE = 0.5;

// A timer that is asked for more than 2^31 milliseconds fires at once.
const LONGEST_TIMER = 2_000_000;

/**
 * Return the seconds to wait: never less than the server said, and more, by chance, after
 * each failure, so that those who were dropped together do not come back together.
 *
 * @param {object} after
 * @param {number} after.retry seconds of the stream's last `retry:`
 * @param {number} after.failures attempts since the last one that was answered
 * @param {number} [after.retryAfter] seconds of the refusal's `Retry-After`
 * @param {number} after.chance from 0 to 1
 * @returns {number}
 */
export function delayAfter({ retry, failures, retryAfter, chance }) {
  const base = failures ? Math.max(retry, LEAST_AFTER_FAILURE) : retry;
  const longest = Math.min(LONGEST_DELAY, base * 2 ** failures);
  const delay = Math.max(retry, (longest * (1 + chance)) / 2);
  // Everybody who was refused was told the same, and the server drew no delay for each.
  return Math.min(LONGEST_TIMER, Math.max(delay, (retryAfter ?? 0) * (1 + chance / 2)));
}
