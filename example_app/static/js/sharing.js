// Shows which tab holds the connection, and how many tabs share it.

import { countTabs } from "./tabs.js";

const EVERY = 1000;

export function showSharingOf(stream, line) {
  const show = async () => {
    const text = sentence(stream, await countTabs());
    // Write only a change: this is a live region, which would be read out each second.
    if (line.textContent !== text) line.textContent = text;
  };
  stream.onState(show);
  // A tab that opens or closes does not change the state of this tab's stream.
  setInterval(show, EVERY);
  show();
}

function sentence({ state, sharing: { role, problem } }, tabs) {
  if (state === "closed") return "There is no connection.";
  if (role === "alone") {
    return problem ? `Not shared: ${problem}.` : "This tab has its own connection.";
  }
  const holder = role === "leader" ? "This tab" : "Another tab";
  if (tabs > 1) return `${holder} holds the connection: ${tabs} tabs share it.`;
  return `${holder} holds the connection. Open another one to see it shared.`;
}
