"""Middlewares that people put around their apps, by name."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from flask import Flask

from tests.documented.samples import sample

_PROXY_FIX = sample("docs/deploying.md", "python", with_="ProxyFix(")

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Any]


def wrap_body(app: WSGI) -> WSGI:
    """Wrap the body to see each chunk, as profilers and tracers do."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def chunks(body: Any) -> Iterator[bytes]:
            try:
                yield from body
            finally:
                body.close()

        return chunks(app(environ, start_response))

    return wrapped


def forget_close(app: WSGI) -> WSGI:
    """Pass the chunks on, but leave out the close() that PEP 3333 asks for."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        for chunk in app(environ, start_response):  # noqa: UP028 - would close it
            yield chunk

    return wrapped


def add_header(app: WSGI) -> WSGI:
    """Add a header in start_response, as an example of PEP 3333 does."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[Any], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Added", "later")], exc_info)

        return app(environ, start)

    return wrapped


def hide_write(app: WSGI) -> WSGI:
    """Hide the write() of the server behind one of its own."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[Any], exc_info: Any = None) -> Any:
            write = start_response(status, headers, exc_info)
            return lambda data: write(data)

        return app(environ, start)

    return wrapped


def use_sentry(app: WSGI) -> WSGI:
    """Put the real SDK around the app, with a transport that sends nothing."""
    import sentry_sdk

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        transport=lambda event: None,
    )
    return app


def trust_proxy(app: WSGI) -> WSGI:
    """Take the client's address from the proxy, by the lines of docs/deploying.md."""
    names = {"app": SimpleNamespace(wsgi_app=app)}
    exec(_PROXY_FIX, names)  # noqa: S102
    trusting: WSGI = names["app"].wsgi_app
    return trusting


MIDDLEWARES = {
    each.__name__: each
    for each in (
        *(wrap_body, forget_close, add_header, hide_write, use_sentry),
        trust_proxy,
    )
}


def apply(app: Flask, name: str) -> None:
    """Put a middleware around an app."""
    app.wsgi_app = MIDDLEWARES[name](app.wsgi_app)  # type: ignore[assignment,method-assign]
