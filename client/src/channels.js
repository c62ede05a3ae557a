// The channels of streams and events, by their names. Pure.

import { jsonOf } from "./json.js";

/** @import { RawEvent } from "./connection.js" */

/**
 * Tell whether all names of a list are in another one.
 *
 * @param {string[]} names
 * @param {string[]} others
 */
export function isWithin(names, others) {
  return names.every((name) => others.includes(name));
}

/**
 * Tell whether a channel, or a pattern that covers it, is in a list.
 *
 * @param {string} name
 * @param {string[]} channels
 */
export function isHeard(name, channels) {
  return channels.some(
    (each) => each === name || (each.endsWith(".*") && name.startsWith(each.slice(0, -1))),
  );
}

/**
 * Return the channels of a stream for which an event is meant. Without any, it is meant for
 * all, or for the user, the session or the client. An event of presence has its channel in
 * its data.
 *
 * @param {RawEvent} event
 * @returns {string[]}
 */
export function channelsOf({ type, text, channel }) {
  if (channel !== undefined) return channel.split("\n");
  const name = type === "presence" && jsonOf(text)?.channel;
  return name ? [name] : [];
}
