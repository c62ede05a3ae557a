// The part that all pages of a signed-in user share: one stream, and the notifications and
// session notices that it brings on any page.

import { connect } from "sse-hub";

import { showSession } from "./session.js";
import { joinTabs } from "./tabs.js";
import { toast } from "./toast.js";

// The URL is in the page's head, where sse_hub.script() has written it. All pages have
// the same URL, so one connection serves all tabs.
export const stream = connect({ shared: true });

stream.on("notification", ({ from, text }) => toast(from ? `${from}: ${text}` : text));
showSession(stream);
joinTabs();
