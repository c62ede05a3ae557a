// A server of Node.js with better-sse: node with_better_sse.mjs PORT
import { createServer } from "node:http";
import { createChannel, createSession } from "better-sse";

const channel = createChannel();

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/events") {
    channel.register(await createSession(request, response));
  } else if (url.pathname === "/publish") {
    let data = "";
    for await (const chunk of request) data += chunk;
    for (let count = Number(url.searchParams.get("count")); count > 0; count--) {
      channel.broadcast(data);
    }
    response.end();
  } else {
    response.end("ok");
  }
});

// The connection that publishes stays open between two publishes.
server.keepAliveTimeout = 75_000;
server.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
