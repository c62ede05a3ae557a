// JSON that may be none.

/**
 * Return a text decoded from JSON, undefined if it is not JSON.
 *
 * @param {string} text
 */
export function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
