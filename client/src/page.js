// The page around a stream: what the server wrote into it, and when it sleeps and wakes.

/**
 * Return what `{{ sse_hub.script() }}` wrote into the page.
 *
 * @returns {{url?: string, clientId?: string, lastEventId?: string, userId?: string}}
 */
export function writtenInPage() {
  const meta = globalThis.document?.querySelector('meta[name="sse-hub"]');
  return { .../** @type {HTMLElement | null | undefined} */ (meta)?.dataset };
}

/** Whether nobody can see the page. */
export const isHidden = () => globalThis.document?.hidden ?? false;

/**
 * Call back with each event that tells of the page being put aside and taken up again:
 * hidden or shown, left and come back to, frozen, its network back. Returns what ends that.
 *
 * @param {(event: Event) => void} listener
 */
export function watchPage(listener) {
  const types = ["online", "pagehide", "pageshow", "visibilitychange", "resume"];
  // Those of the document are seen here too: on their way there, for not all bubble.
  for (const type of types) globalThis.addEventListener?.(type, listener, true);
  return () => types.forEach((type) => removeEventListener(type, listener, true));
}
