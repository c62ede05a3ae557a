// A page as far as a stream sees it: a document, and events of the window.

export class Page extends EventTarget {
  /** What handlers threw, as the browser's console would show it. */
  errors = [];
  hidden = false;
  baseURI = "https://example.org/app/page";
  /** What the server wrote into it. */
  dataset;
  #listeners = 0;

  /** Be the page of this process. */
  constructor() {
    super();
    Object.assign(globalThis, {
      document: this,
      addEventListener: (...args) => this.#count(1, super.addEventListener(...args)),
      removeEventListener: (...args) => this.#count(-1, super.removeEventListener(...args)),
      reportError: (error) => this.errors.push(error),
    });
  }

  #count(by) {
    this.#listeners += by;
  }

  get listeners() {
    return this.#listeners;
  }

  querySelector(selector) {
    return selector === 'meta[name="sse-hub"]' && this.dataset
      ? { dataset: this.dataset }
      : null;
  }

  tell(type, more = {}) {
    this.dispatchEvent(Object.assign(new Event(type), more));
  }

  hide() {
    this.hidden = true;
    this.tell("visibilitychange");
  }

  show() {
    this.hidden = false;
    this.tell("visibilitychange");
  }
}
