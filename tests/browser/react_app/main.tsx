// An app as a user would write it. A test controls the page's components.

import { StrictMode, useLayoutEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { type SSE, useDashboardSSE, useSSE } from "sse-hub/react";

interface InboxProps {
  url: string | null;
  shared?: boolean;
  /** A prefix that the handler adds to the data, to show which handler was called. */
  mark?: string;
}

function Inbox({ url, shared = false, mark = "" }: InboxProps) {
  const [heard, setHeard] = useState<string[]>([]);
  const sse = useSSE({
    // New objects at each rendering, as in most pages.
    url: url && new URL(url, location.href),
    headers: { "X-Page": "inbox" },
    shared,
    eventHandlers: {
      message: (data: string) => setHeard((before) => [...before, mark + data]),
    },
  });
  return <Shown {...sse} more={{ url, heard }} />;
}

/** A component that shows events, and nothing of the stream's state. */
function Quiet({ url }: { url: string }) {
  const { lastEvent } = useSSE({ url, headers: new Headers({ "X-Page": "quiet" }) });
  return <output>{JSON.stringify({ last: lastEvent?.data ?? null })}</output>;
}

/** The same with a hook whose result is spread. */
function QuietDashboard({ url }: { url: string }) {
  const { data } = useDashboardSSE<Numbers>({ url, initial: { total: 1 } });
  return <output>{JSON.stringify({ total: data?.total })}</output>;
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
  /** All values that were on the screen, however briefly. */
  frames: [] as object[],
  /** Resolves the state that was requested after a reset. */
  answer: null as ((numbers: Numbers) => void) | null,

  inbox: (props: InboxProps) => show(<Inbox {...props} />),
  dashboard: (url: string) => show(<Dashboard url={url} />),
  quiet: (url: string) => show(<Quiet url={url} />),
  quietDashboard: (url: string) => show(<QuietDashboard url={url} />),
  nothing: () => show(null),

  /** Mount and unmount the given number of times, each time with a connection. */
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
