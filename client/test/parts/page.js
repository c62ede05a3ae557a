// The parts of a page that a stream uses: a document, and the events of the window.

export class Page extends EventTarget {
  /** The errors of handlers, which a browser would show in its console. */
  errors = [];
  hidden = false;
  baseURI = "https://example.org/app/page";
  /** The values that the server wrote into the page. */
  dataset;
  #listeners = 0;

  /** Become the page of this process. */
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
