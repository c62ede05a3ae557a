// Counts the tabs that have a page of this app open. Each tab holds the same shared lock.

const LOCK = "example-app-tab";

export function joinTabs() {
  // The promise never settles, so the lock lasts as long as the page.
  navigator.locks?.request(LOCK, { mode: "shared" }, () => new Promise(() => {}));
}

/** Return the number of tabs, or null if the browser has no locks (plain HTTP). */
export async function countTabs() {
  if (!navigator.locks) return null;
  const { held } = await navigator.locks.query();
  return held.filter((lock) => lock.name === LOCK).length;
}
