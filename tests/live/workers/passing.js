// A service worker that lets streams pass.

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  if (event.request.headers.get("Accept") === "text/event-stream") return;
  event.respondWith(answer(event.request));
});

const answer = (request) => fetch(request);
