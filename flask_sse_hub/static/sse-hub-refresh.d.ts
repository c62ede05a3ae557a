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
 */
declare function refreshFragments({ spread }?: RefreshOptions): Promise<void>;
type RefreshOptions = {
    /**
     * The seconds within which pages refresh, each at a random
     * moment: 10 if left out.
     */
    spread?: number | undefined;
};

export { type RefreshOptions, refreshFragments };
