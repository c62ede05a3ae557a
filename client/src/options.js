// The check of the options of a stream. TypeScript finds such mistakes before they run.
// Plain JavaScript would ignore most of them silently.

/** @import { Options } from "./types.js" */

// The keys of Options in one text, which compresses better than many.
const NAMES = (
  "on onState onReset signal lastEventId clientId userId shared state pauseWhenHidden " +
  "method headers body credentials ticket heartbeat"
).split(" ");

/**
 * Throw TypeError if a value has another type.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {string} type
 */
export function mustBe(name, value, type) {
  if (typeof value !== type)
    throw new TypeError(`${name} must be of type ${type}, not ${typeof value}`);
}

/**
 * Throw TypeError if an option does not exist, or has a value that cannot be used.
 *
 * @param {URL} url
 * @param {Options<any>} options
 */
export function check(url, options) {
  const { on = {}, ticket, body } = options;
  mustBe("options", options, "object");
  mustBe("on", on, "object");
  if (ticket) mustBe("ticket", ticket, "function");
  for (const name of Object.keys(options))
    if (!NAMES.includes(name))
      throw new TypeError(`no option "${name}" exists, only ${NAMES.join(", ")}`);
  // Such a body would be sent as the text "[object Object]", or only once.
  if (/^\[object [OR]/.test(String(body)))
    throw new TypeError(`body must not be ${body}: JSON.stringify it`);
  // The browser refuses everything else that it could not send, such as a GET with a body.
  // An attempt that fails for this reason would be repeated for ever.
  new Request(url, options);
}
