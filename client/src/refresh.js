// Refreshing: load the marked parts of a page again, from the server that rendered it. It
// knows the document alone, and no streams: any client that hears a reset can use it.

/**
 * @typedef {object} RefreshOptions
 * @property {number} [spread] The seconds within which pages refresh, each at a random
 *   moment: 10 if left out.
 */

// How often an address is asked, if it fails or if the page changes meanwhile.
const MOST_TRIES = 5;

/** @type {Promise<void> | undefined} */
let waiting;

/**
 * Load each element with the attribute `data-sse-refresh` again, and show what the server
 * has now. Call it when a stream is reset:
 *
 *     connect({ onReset: () => refreshFragments() });
 *
 * The attribute's value is an address whose HTML has an element with the same id; without
 * a value it is the page's own. The children of the element are replaced, and an event
 * `sse-refresh` bubbles from it. If the HTML lacks the element, or if no element is
 * marked, the whole page is loaded again.
 *
 * Pages wait for a random time, so that they do not all ask at once. Calls meanwhile share
 * one refresh.
 *
 * @param {RefreshOptions} [options]
 * @returns {Promise<void>}
 */
export function refreshFragments({ spread = 10 } = {}) {
  if (!(spread >= 0 && spread < Infinity))
    throw new TypeError(`spread must be a number of seconds, not ${spread}`);
  const pause = () =>
    new Promise((resolve) => setTimeout(resolve, Math.random() * spread * 1000));
  waiting ??= pause().then(() => {
    waiting = undefined;
    return refresh(pause);
  });
  return waiting;
}

/** @param {() => Promise<unknown>} pause */
async function refresh(pause) {
  /** @type {Map<string, Element[]>} */
  const byAddress = new Map();
  for (const element of document.querySelectorAll("[data-sse-refresh]")) {
    const address = element.getAttribute("data-sse-refresh") || location.href;
    byAddress.set(address, [...(byAddress.get(address) ?? []), element]);
  }
  const done = await Promise.all(
    [...byAddress].map(([address, elements]) => load(address, elements, pause)),
  );
  if (!done.length || done.includes(false)) location.reload();
}

/**
 * Load the elements of one address. Returns false if the page has to be loaded instead.
 *
 * An event that arrives meanwhile may have changed an element after the server has
 * rendered it. What the server has rendered is then out of date, and is loaded once more.
 *
 * @param {string} address
 * @param {Element[]} elements
 * @param {() => Promise<unknown>} pause
 */
async function load(address, elements, pause) {
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const observer = new MutationObserver(() => {});
    for (const each of elements)
      observer.observe(each, { childList: true, characterData: true, subtree: true });
    const fresh = await fetched(address);
    const isChanged = observer.takeRecords().length > 0;
    observer.disconnect();
    if (fresh === undefined) await pause();
    else if (!isChanged || tries === MOST_TRIES) return show(fresh, elements);
  }
  return false;
}

/**
 * Return the document at an address. Undefined if the server is away for the moment.
 *
 * @param {string} address
 */
async function fetched(address) {
  try {
    const headers = { Accept: "text/html" };
    const answer = await fetch(address, { headers, cache: "no-store" });
    if (answer.status >= 500 || answer.status === 429) return undefined;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return undefined;
  }
}

/**
 * @param {Document} fresh
 * @param {Element[]} elements
 */
function show(fresh, elements) {
  const found = elements.map(({ id }) => id && fresh.getElementById(id));
  if (found.some((each) => !each)) return false;
  elements.forEach((element, at) => {
    element.replaceChildren(.../** @type {Element} */ (found[at]).childNodes);
    element.dispatchEvent(new CustomEvent("sse-refresh", { bubbles: true }));
  });
  return true;
}
