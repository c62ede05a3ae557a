// Requests of the pages, and their errors in words.

/** An error in words for the user. Its `id` finds the error in the log. */
export class Problem extends Error {
  constructor(message, id) {
    super(message);
    this.id = id;
  }
}

/** Send a request, by default a POST. Throws a Problem if it is refused. */
export async function send(url, options) {
  let response;
  try {
    response = await fetch(url, { method: "POST", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server could not be reached.");
  }
  if (response.ok) return response;
  if (response.status === 401) throw new Problem("You are not signed in any more.");
  const refusal = await response.json().catch(() => ({}));
  throw new Problem(refusal.error ?? `The server answered ${response.status}.`);
}
