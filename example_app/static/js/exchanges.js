// The conversation in the page: each question with its answer, once, whether it comes from
// the page itself, its own request or another tab.

// Whatever grows has an end. As many as the server shows of a conversation.
const MOST = 50;

const NOTES = { stopped: "Stopped here.", failed: "It failed here, and is not kept." };

export class Exchanges {
  constructor(list) {
    this.list = list;
  }

  /** Show nothing else than these, and an answer that is still on its way. */
  begin(exchanges) {
    this.list.replaceChildren(...this.list.querySelectorAll("[data-state=answering]"));
    exchanges.forEach((each) => this.keep(each));
  }

  /** Show one that the server has kept, as it is kept there. */
  keep({ id, question, answer, stopped }) {
    const shown = this.find(id) ?? this.add(question);
    shown.dataset.id = id;
    shown.dataset.kept = "";
    this.write(shown, answer);
    this.end(shown, stopped ? "stopped" : "complete");
  }

  find(id) {
    return [...this.list.children].find((each) => each.dataset.id === id);
  }

  /** Show a question whose answer is yet to come. */
  add(question) {
    const shown = document.createElement("li");
    shown.dataset.state = "answering";
    shown.append(
      part("question", "You: ", question),
      part("answer", "Answer: ", ""),
      part("note", "", ""),
    );
    this.atEnd(() => {
      this.list.append(shown);
      while (this.list.children.length > MOST) this.list.firstElementChild.remove();
    });
    return shown;
  }

  /** Say which one it will be. Where a proxy collected its answer, the hub was faster. */
  name(shown, id) {
    this.find(id)?.remove();
    shown.dataset.id = id;
  }

  /** Show an answer as far as it has come. */
  write(shown, answer) {
    this.atEnd(() => {
      shown.querySelector(".answer .text").textContent = answer;
    });
  }

  /** Change something, and stay at the end; who has scrolled up reads there, and is left alone. */
  atEnd(change) {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    change();
    if (scrollHeight - scrollTop - clientHeight < 40) this.goToEnd();
  }

  goToEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  answerOf(shown) {
    return shown.querySelector(".answer .text").textContent;
  }

  /** Say how an answer ended: complete, stopped or failed. */
  end(shown, state) {
    this.atEnd(() => {
      shown.dataset.state = state;
      shown.querySelector(".note .text").textContent = NOTES[state] ?? "";
    });
  }
}

function part(name, who, text) {
  const element = document.createElement("div");
  element.className = name;
  const speaker = document.createElement("span");
  speaker.className = "unseen";
  speaker.textContent = who;
  const said = document.createElement("span");
  said.className = "text";
  // As text: it is what somebody, or a model, wrote.
  said.textContent = text;
  element.append(speaker, said);
  return element;
}
