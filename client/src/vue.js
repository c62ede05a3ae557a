// A composable for Vue on top of `connect`.

import { computed, shallowRef, toValue, watch } from "vue";
import { NOTHING_YET, NO_STREAM, isServer, keyOf, openFor, seenFrom } from "./component.js";

/**
 * @import { ComputedRef, MaybeRefOrGetter } from "vue"
 * @import { Seen, UseSSEOptions } from "./component-types.js"
 * @import { AnyEvents } from "./types.js"
 * @import { SSERefs } from "./vue-types.js"
 */

/**
 * Keep a stream open as long as the component or the effect scope exists.
 *
 * The options are an object, a ref or a getter. The stream is replaced if an option has
 * changed, such as `url`, `shared` or the request (`method`, `headers`, `body`,
 * `credentials`). After `closeConnection()` the stream stays closed. `reconnect()` resumes
 * it.
 *
 * @template {object} [Events=AnyEvents]
 * @param {MaybeRefOrGetter<UseSSEOptions<Events>>} [options]
 * @returns {SSERefs<Events>}
 */
export function useSSE(options = {}) {
  const latest = () => toValue(options);
  const status = shallowRef(NOTHING_YET);
  /** @type {ReturnType<typeof openFor> | undefined} */
  let stream;
  let isShown = false;
  watch(
    () => keyOf(latest()),
    (key, _, onCleanup) => {
      status.value = key === null ? NO_STREAM : NOTHING_YET;
      if (key === null || isServer()) return;
      const opened = openFor(
        latest,
        (change) => (status.value = { ...status.value, ...change }),
        () => isShown,
      );
      stream = opened;
      onCleanup(() => {
        stream = undefined;
        opened.close();
      });
    },
    { immediate: true },
  );
  /** @type {ComputedRef<Seen<Events>>} */
  const seen = computed(() => seenFrom(status.value, () => (isShown = true)));
  return {
    isConnected: computed(() => seen.value.isConnected),
    state: computed(() => seen.value.state),
    error: computed(() => seen.value.error),
    lastEvent: computed(() => seen.value.lastEvent),
    reconnect: () => stream?.reconnect(),
    closeConnection: () => stream?.close(),
  };
}
