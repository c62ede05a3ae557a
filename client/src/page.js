// The page around a stream: the values that the server wrote into it, and the events that
// say when it sleeps and wakes up.

/**
 * Return the values that `{{ sse_hub.script() }}` wrote into the page.
 *
 * @returns {{url?: string, clientId?: string, lastEventId?: string, userId?: string}}
 */
export function writtenInPage() {
  const meta = globalThis.document?.querySelector('meta[name="sse-hub"]');
  return { .../** @type {HTMLElement | null | undefined} */ (meta)?.dataset };
}

/** Tell whether the page is hidden. */
export const isHidden = () => globalThis.document?.hidden ?? false;

/**
 * Call the listener when the page is hidden or shown, left or returned to, resumed after a
 * freeze, or when its network is back. Returns a function that ends this.
 *
 * @param {(event: Event) => void} listener
 */
export function watchPage(listener) {
  const types = ["online", "pagehide", "pageshow", "visibilitychange", "resume"];
  // Some of these events go to the document. The window sees them in the capture phase; not
  // all of them bubble.
  for (const type of types) globalThis.addEventListener?.(type, listener, true);
  return () => types.forEach((type) => removeEventListener(type, listener, true));
}
