// The page around a stream: the values that the server wrote into it, and the events that
// say when it sleeps and wakes up. Nothing of it exists outside a browser's window.

/**
 * Return the values that `{{ sse_hub.script() }}` wrote into the page.
 *
 * @returns {{url?: string, clientId?: string, lastEventId?: string, userId?: string}}
 */
export function writtenInPage() {
  const meta = globalThis.document?.querySelector('meta[name="sse-hub"]');
  return { .../** @type {HTMLElement | null | undefined} */ (meta)?.dataset };
}

/**
 * Return the URL to which others are relative: that of the page, or of a worker's script.
 * A server, which renders the page, has none.
 *
 * @returns {string | undefined}
 */
export const baseAddress = () => globalThis.document?.baseURI ?? globalThis.location?.href;

/** Tell whether the page is hidden. */
export const isHidden = () => globalThis.document?.hidden ?? false;

/** Tell whether a service worker answers the requests of the page. */
export function hasServiceWorker() {
  try {
    return Boolean(globalThis.navigator?.serviceWorker?.controller);
  } catch {
    // A sandboxed page may not ask.
    return false;
  }
}

/**
 * Call the listener when the page is hidden or shown, left or returned to, resumed after a
 * freeze, or when its network is back. Returns a function that ends this.
 *
 * @param {(event: Event) => void} listener
 */
export function watchPage(listener) {
  const types = [
    "online",
    "beforeunload",
    "pagehide",
    "pageshow",
    "visibilitychange",
    "resume",
  ];
  // Some of these events go to the document. The window sees them in the capture phase; not
  // all of them bubble.
  for (const type of types) globalThis.addEventListener?.(type, listener, true);
  return () =>
    types.forEach((type) => globalThis.removeEventListener?.(type, listener, true));
}

/**
 * Run a handler of the page. An error in it is reported, and stops neither other handlers
 * nor the stream.
 *
 * @param {() => void} run
 */
export function guarded(run) {
  try {
    run();
  } catch (error) {
    // Node.js and jsdom have no reportError.
    (globalThis.reportError ?? console.error)(error);
  }
}
