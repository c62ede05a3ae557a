// Positions: the order of two events in a hub's stream. Pure.
//
// The id of a hub's event is `<epoch>-<offset>`. Offsets grow within one epoch. The order
// of the epochs can only be learnt from the stream itself.

const ID = /^([0-9a-z]+)-(\d+)$/;

/**
 * Return epoch and offset, both empty if it is not the id of a hub's event.
 *
 * @param {string} id
 */
function parts(id) {
  return /** @type {[string, string]} */ (ID.exec(id)?.slice(1) ?? ["", ""]);
}

/** The order of the ids of one stream, as far as it has been observed. */
export class Order {
  /** @type {Map<string, string>} */
  #next = new Map();

  /**
   * Record that `id` came right after `before`.
   *
   * @param {string} before
   * @param {string} id
   */
  learn(before, id) {
    const [earlier, later] = [parts(before)[0], parts(id)[0]];
    // A known order is never changed: a tab that slept may report epochs long over.
    if (earlier && later && this.reaches(before, id) === undefined)
      this.#next.set(earlier, later);
  }

  /**
   * Tell whether `id` is at or before `other`, undefined if their order is not known.
   *
   * @param {string} id
   * @param {string} other
   * @returns {boolean | undefined}
   */
  reaches(id, other) {
    const [epoch, offset] = parts(id);
    const [otherEpoch, otherOffset] = parts(other);
    if (id === other) return true;
    if (!epoch || !otherEpoch) return undefined;
    if (epoch === otherEpoch) {
      // Offsets may be too large for numbers. They have no leading zeros, so the longer
      // text is the larger offset.
      return offset.length === otherOffset.length
        ? offset < otherOffset
        : offset.length < otherOffset.length;
    }
    if (this.#leads(epoch, otherEpoch)) return true;
    return this.#leads(otherEpoch, epoch) ? false : undefined;
  }

  /**
   * Follow the epochs from one to another; undefined if it does not lead there.
   *
   * @param {string | undefined} epoch
   * @param {string} other
   */
  #leads(epoch, other) {
    while (epoch && epoch !== other) epoch = this.#next.get(epoch);
    return epoch;
  }
}
