// Says which tab holds the connection, and how many share it.

import { countTabs } from "./tabs.js";

const EVERY = 1000;

export function showSharingOf(stream, line) {
  const show = async () => {
    const text = sentence(stream.sharing, await countTabs());
    // Only a change: it is a live region, and would be read out each second.
    if (line.textContent !== text) line.textContent = text;
  };
  stream.onState(show);
  // Another tab that comes or goes changes no state here.
  setInterval(show, EVERY);
  show();
}

function sentence({ role, problem }, tabs) {
  const others = tabs === null || tabs < 2 ? "" : `: ${tabs} tabs share it`;
  if (role === "leader" && tabs === 1) {
    return "This tab holds the connection for all tabs. Open another one to see it shared.";
  }
  if (role === "leader") return `This tab holds the connection for all tabs${others}.`;
  if (role === "follower") return `Another tab holds the connection${others}.`;
  return problem ? `Not shared: ${problem}.` : "This tab has a connection of its own.";
}
