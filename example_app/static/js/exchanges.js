// The conversation in the page. Each question is shown once with its answer, whether it
// comes from the loaded page, from the page's own request, from an answer or from another tab.

// The list is bounded, to the number of exchanges that the server sends.
const MOST = 50;

const NOTES = {
  stopped: "Stopped here.",
  failed: "It failed here, and is not kept.",
  lost: "It broke off here, and is not kept.",
  left: "It goes on without this page.",
};

export class Exchanges {
  constructor(list) {
    this.list = list;
  }

  /** Show only these exchanges, and an answer that is still coming. */
  begin(exchanges) {
    this.list.replaceChildren(...this.list.querySelectorAll("[data-state=answering]"));
    exchanges.forEach((each) => this.keep(each));
  }

  /** Show an exchange as the server has kept it. */
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

  /** Give an exchange the id of its answer, under which it will be kept. */
  name(shown, id) {
    shown.dataset.id = id;
  }

  /** Show the part of an answer that has arrived. */
  write(shown, answer) {
    this.atEnd(() => {
      shown.querySelector(".answer .text").textContent = answer;
    });
  }

  /** Make a change and stay at the end of the list, unless the user has scrolled up. */
  atEnd(change) {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    change();
    if (scrollHeight - scrollTop - clientHeight < 40) this.goToEnd();
  }

  goToEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  questionOf(shown) {
    return shown.querySelector(".question .text").textContent;
  }

  answerOf(shown) {
    return shown.querySelector(".answer .text").textContent;
  }

  /** Show how an answer ended: complete, or as one of NOTES. */
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
  // As text: a person or a model wrote it, and it must not become part of the page.
  said.textContent = text;
  element.append(speaker, said);
  return element;
}
