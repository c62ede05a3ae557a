"""The site of the live tests with one other package beside the hub.

``COMPAT_WITH`` names the function that adds the package. Servers run it by
``create_app()``.
"""

import os
from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response, jsonify
from flask.sessions import SessionInterface
from werkzeug.middleware.profiler import ProfilerMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.live import site
from tests.live.middlewares import use_sentry

#: How many requests an hour Flask-Limiter allows to each endpoint of the site.
LIMIT = 5


def limiter(app: Flask) -> None:
    """Limit each view by default, as the start page of Flask-Limiter shows."""
    from flask_limiter import Limiter
    from flask_limiter.util import get_remote_address

    Limiter(
        get_remote_address,
        app=app,
        default_limits=[f"{LIMIT} per hour"],
        storage_uri="memory://",
    )


def session(app: Flask) -> None:
    """Keep sessions in files, by Flask-Session."""
    from cachelib import FileSystemCache
    from flask_session import Session

    app.config["SESSION_TYPE"] = "cachelib"
    app.config["SESSION_CACHELIB"] = FileSystemCache("sessions", threshold=500)
    Session(app)


def session_in_redis(app: Flask) -> None:
    """Keep sessions in the Redis that has the log too, by Flask-Session."""
    import redis
    from flask_session import Session

    app.config["SESSION_TYPE"] = "redis"
    app.config["SESSION_REDIS"] = redis.Redis.from_url(app.config["SSE_HUB_BROKER_URL"])
    Session(app)


def beaker(app: Flask) -> None:
    """Keep sessions in files, by Beaker's middleware."""
    from beaker.middleware import SessionMiddleware

    class BeakerSessions(SessionInterface):
        def open_session(self, app: Flask, request: Request) -> Any:
            return request.environ["beaker.session"]

        def save_session(self, app: Flask, session: Any, response: Response) -> None:
            session.save()

    app.session_interface = BeakerSessions()
    # "strong" reads an attribute that Beaker's sessions do not have, on every page.
    app.config["SESSION_PROTECTION"] = "basic"
    app.wsgi_app = SessionMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, {"session.type": "file", "session.data_dir": "beaker"}
    )


def talisman(app: Flask) -> None:
    """Add security headers, with the default Content-Security-Policy."""
    from flask_talisman import Talisman

    Talisman(app, force_https=False, session_cookie_secure=False)


def cors(app: Flask) -> None:
    """Open the whole app to another site, by Flask-CORS."""
    from flask_cors import CORS

    CORS(app, origins=["https://friend.example"], supports_credentials=True)


def compress(app: Flask) -> None:
    """Compress all responses that Flask-Compress can be told to compress."""
    from flask_compress import Compress

    app.config["COMPRESS_MIMETYPES"] = ["text/event-stream", "application/json"]
    app.config["COMPRESS_MIN_SIZE"] = 1
    Compress(app)


def caching(app: Flask) -> None:
    """Cache the responses of one view."""
    from flask_caching import Cache

    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})

    @app.get("/cached")
    @cache.cached()
    def cached() -> str:
        return site.sse_hub.publish("from a cached view")


def csrf(app: Flask) -> None:
    """Ask for a CSRF token wherever a form could be posted, but for logging in."""
    from flask_wtf import CSRFProtect

    protect = CSRFProtect(app)
    for name in ("login", "publish", "logout"):
        protect.exempt(app.view_functions[name])


def debugtoolbar(app: Flask) -> None:
    """Insert the toolbar into all pages, and look at each request."""
    from flask_debugtoolbar import DebugToolbarExtension

    app.config["DEBUG_TB_ENABLED"] = True
    DebugToolbarExtension(app)


def profiler(app: Flask) -> None:
    """Profile each request until its response is complete."""
    app.wsgi_app = ProfilerMiddleware(app.wsgi_app)  # type: ignore[method-assign]


def proxy_fix(app: Flask) -> None:
    """Read the client's address from one proxy."""
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]


def sentry(app: Flask) -> None:
    """Trace every request, by Sentry's SDK."""
    use_sentry(app.wsgi_app)


def opentelemetry(app: Flask) -> None:
    """Trace every request, by OpenTelemetry."""
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    FlaskInstrumentor().instrument_app(app, tracer_provider=TracerProvider())


def newrelic(app: Flask) -> None:
    """Tell whether New Relic's agent, which started the server, sees the request."""
    from newrelic.agent import current_transaction

    @app.get("/traced")
    def traced() -> Response:
        return jsonify(traced=current_transaction() is not None)


def ddtrace(app: Flask) -> None:
    """Tell whether Datadog's tracer, which started the server, sees the request."""
    from ddtrace.trace import tracer

    @app.get("/traced")
    def traced() -> Response:
        return jsonify(traced=tracer.current_span() is not None)


def apscheduler(app: Flask) -> None:
    """Publish from a job in a thread of the server's own process."""
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()

    def job() -> None:
        site.sse_hub.publish("from a job", user="alice")

    @app.post("/schedule")
    def schedule() -> Response:
        scheduler.add_job(job)
        return jsonify("scheduled")


ALL: dict[str, Callable[[Flask], None]] = {
    each.__name__: each
    for each in (
        *(limiter, session, session_in_redis, beaker, talisman, cors, compress),
        *(caching, csrf, debugtoolbar, profiler, proxy_fix, sentry, opentelemetry),
        *(apscheduler, newrelic, ddtrace),
    )
}


def create_app() -> Flask:
    app = site.create_app()
    ALL[os.environ["COMPAT_WITH"]](app)
    return app
