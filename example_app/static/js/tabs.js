// How many tabs have a page of this app open. Each holds a lock that any number may hold.

const LOCK = "example-app-tab";

export function joinTabs() {
  // A lock of a promise that is never kept lasts as long as the page.
  navigator.locks?.request(LOCK, { mode: "shared" }, () => new Promise(() => {}));
}

/** Return how many there are, or null where the browser has no locks (plain HTTP). */
export async function countTabs() {
  if (!navigator.locks) return null;
  const { held } = await navigator.locks.query();
  return held.filter((lock) => lock.name === LOCK).length;
}
