// The delay before the next attempt. Pure.

// The delay until the server sets one, and the longest delay that backoff reaches.
export const FIRST_DELAY = 3;
const LONGEST_DELAY = 30;

// A server that sets less than this has made a mistake: each client would send one request
// right after another.
const LEAST_RETRY = 0.1;

// The delay instead. It is also the least delay after a failure, when the server is away.
const LEAST_DELAY = 0.5;

// A timer of more than 2^31 milliseconds fires at once.
const LONGEST_TIMER = 2_000_000;

/**
 * Return the seconds to wait before the next attempt. It is never less than the server's
 * retry. It grows with each failure and has a random part, so that clients that were
 * dropped together do not come back together.
 *
 * @param {object} after
 * @param {number} after.retry seconds of the stream's last `retry:`
 * @param {number} after.failures attempts since the last one that was answered
 * @param {number} [after.retryAfter] seconds of the refusal's `Retry-After`
 * @param {number} after.chance from 0 to 1
 * @returns {number}
 */
export function delayAfter({ retry, failures, retryAfter, chance }) {
  const base = failures || retry < LEAST_RETRY ? Math.max(retry, LEAST_DELAY) : retry;
  const longest = Math.min(LONGEST_DELAY, base * 2 ** failures);
  const delay = Math.max(failures ? retry : base, (longest * (1 + chance)) / 2);
  // All refused clients received the same Retry-After, so it is spread here.
  return Math.min(LONGEST_TIMER, Math.max(delay, (retryAfter ?? 0) * (1 + chance / 2)));
}
