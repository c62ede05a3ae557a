// The search of the site works in a worker, which browsers refuse to pages that were
// opened from a folder. There this stands in for it: a frame runs the worker's script.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe");
    #waiting = [];

    constructor(url) {
      super();
      this.#frame.hidden = true;
      document.documentElement.append(this.#frame);
      const inside = this.#frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      script.src = new URL(url, document.baseURI);
      script.addEventListener("load", () => {
        for (const data of this.#waiting.splice(0)) this.#give(data);
        this.#waiting = null;
      });
      inside.document.head.append(script);
    }

    postMessage(data) {
      if (this.#waiting) this.#waiting.push(data);
      else this.#give(data);
    }

    terminate() {
      this.#frame.remove();
    }

    #give(data) {
      const inside = this.#frame.contentWindow;
      inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }
  };
}
