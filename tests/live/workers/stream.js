// A worker of any kind with a stream. It tells its page what has come.

import { connect } from "/events/sse-hub.js";

const tell = (port) =>
  connect("/events?channel=news", {
    on: { number: (data) => port.postMessage(data) },
    onState: ({ state, error }) => port.postMessage([state, String(error)]),
  });

if ("SharedWorkerGlobalScope" in self) onconnect = ({ ports: [port] }) => tell(port);
else if ("ServiceWorkerGlobalScope" in self) onmessage = ({ ports: [port] }) => tell(port);
else tell(self);
