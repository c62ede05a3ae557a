// An app as its author would write it, whose page a test tells what to show.

import { StrictMode, useLayoutEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { type SSE, useDashboardSSE, useSSE } from "./sse-hub/sse-hub-react.js";

interface InboxProps {
  url: string | null;
  shared?: boolean;
  /** What the handler adds to what it hears, so that it shows which one was called. */
  mark?: string;
}

function Inbox({ url, shared = false, mark = "" }: InboxProps) {
  const [heard, setHeard] = useState<string[]>([]);
  const sse = useSSE({
    // New objects at each rendering, as most pages have them.
    url: url && new URL(url, location.href),
    headers: { "X-Page": "inbox" },
    shared,
    eventHandlers: {
      message: (data: string) => setHeard((before) => [...before, mark + data]),
    },
  });
  return <Shown {...sse} more={{ url, heard }} />;
}

interface Numbers {
  total: number;
}

function Dashboard({ url }: { url: string }) {
  const { data, updatedAt, ...sse } = useDashboardSSE<Numbers>({
    url,
    initial: { total: 1 },
    load: () => new Promise((resolve) => (page.answer = resolve)),
  });
  return <Shown {...sse} more={{ total: data?.total, isUpdated: updatedAt !== null }} />;
}

function Shown({ more, ...sse }: SSE & { more: object }) {
  const { isConnected, state, error, lastEvent } = sse;
  const seen = {
    isConnected,
    state,
    reason: error?.reason,
    last: lastEvent?.data,
    ...more,
  };
  useLayoutEffect(() => void page.frames.push(seen));
  return (
    <>
      <output>{JSON.stringify(seen)}</output>
      <button onClick={sse.reconnect}>reconnect</button>
      <button onClick={sse.closeConnection}>close</button>
    </>
  );
}

const root = createRoot(document.getElementById("root")!);

const page = {
  /** All that was on the screen, however briefly. */
  frames: [] as object[],
  /** Answers what was asked for after a reset. */
  answer: null as ((numbers: Numbers) => void) | null,

  inbox: (props: InboxProps) => show(<Inbox {...props} />),
  dashboard: (url: string) => show(<Dashboard url={url} />),
  nothing: () => show(null),

  /** Mount and unmount so many times, each time with a connection. */
  async mount(times: number, props: InboxProps) {
    for (; times > 0; times--) {
      page.inbox(props);
      await until(() => !!document.querySelector("output")?.textContent?.includes(":true"));
      page.nothing();
      page.frames.length = 0;
      await until(() => !document.querySelector("output"));
    }
  },
};

function show(what: React.ReactNode) {
  root.render(<StrictMode>{what}</StrictMode>);
}

async function until(isSo: () => boolean) {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1));
}

Object.assign(window, { page });
