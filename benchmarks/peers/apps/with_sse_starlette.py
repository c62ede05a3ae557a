"""A Starlette app with sse-starlette and a queue for each client."""

import asyncio
from collections.abc import AsyncIterator

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

clients: set[asyncio.Queue[str]] = set()


async def page(request: Request) -> PlainTextResponse:  # noqa: ARG001
    """Answer an ordinary request."""
    return PlainTextResponse("ok")


async def events(request: Request) -> EventSourceResponse:  # noqa: ARG001
    """Stream the events from the client's queue."""

    async def stream() -> AsyncIterator[dict[str, str]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        clients.add(queue)
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            clients.discard(queue)

    return EventSourceResponse(stream())


async def publish(request: Request) -> PlainTextResponse:
    """Publish the body, as often as ``count`` says."""
    data = (await request.body()).decode()
    for _ in range(int(request.query_params["count"])):
        for queue in clients:
            queue.put_nowait(data)
    return PlainTextResponse("")


app = Starlette(
    routes=[
        Route("/", page),
        Route("/events", events),
        Route("/publish", publish, methods=["POST"]),
    ]
)
