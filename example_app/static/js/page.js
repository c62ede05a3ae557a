// What every page of somebody who is signed in has: one stream, and what it brings that
// concerns the person wherever they are.

import { connect } from "sse-hub";

import { showSession } from "./session.js";
import { joinTabs } from "./tabs.js";
import { toast } from "./toast.js";

// Its address is in the page's head, where sse_hub.script() has written it. All pages
// have the same, so one connection serves all tabs.
export const stream = connect({ shared: true });

stream.on("notification", ({ from, text }) => toast(from ? `${from}: ${text}` : text));
showSession(stream);
joinTabs();
