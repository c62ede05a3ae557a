"""The head of a page, and the cursor and ids by which it opens its stream.

Joins requests with client ids and the log. Does not know how a stream is opened.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..auth import client_ids, visitor
from ..events import words
from ..runtime.arguments import explaining
from . import client_script

if TYPE_CHECKING:
    from .app_state import AppState


class SetsUpPages:
    """The methods for pages, as methods of the extension."""

    _state: "Callable[[], AppState]"

    @explaining("script(*channels, url=..., nonce=...)", words=words.CHANNELS)
    def script(
        self,
        *channels: str,
        url: str | None = None,
        nonce: str | None = None,
        cursor: str | None = None,
    ) -> Markup:
        """Return the HTML for a page's head that the browser client needs.

        The HTML has the stream's URL, a new client id and the user's id for
        ``connect()``. Its import map lets the page's modules
        ``import { connect } from "sse-hub"``. Call it within a request, or in a
        template. For example::

            head = render_template_string("{{ sse_hub.script('news') }}")

        Args:
            *channels: The channels of the page's stream, which the blueprint serves.
            url: The URL of a view of your own that serves the stream instead.
            nonce: The nonce of the page's Content-Security-Policy, if it has one.
            cursor: The value of ``cursor()`` from before the page's state was queried.

        Returns:
            A meta element and a script element with the import map.

        Raises:
            InvalidName: A channel's name is not usable.
            InvalidOption: There are channels beside a URL.
            ConfigurationError: The app has no SECRET_KEY.

        """
        return client_script.head_of_page(
            channels,
            url=url,
            nonce=nonce,
            cursor=cursor,
            client_id=self.client_id(),
            user_id=visitor.current_identity().user,
        )

    def cursor(self) -> str:
        """Return the log's current cursor, from which a page's stream can start.

        Call it before you query the page's state. A stream that opens with this value
        as ``?last_event_id=`` then misses no event between the query and the stream.
        For example::

            cursor = sse_hub.cursor()
            orders = load_orders()
            head = sse_hub.script("orders", cursor=cursor)

        Raises:
            BrokerUnavailable: The broker cannot be reached.

        """
        return str(self._state().hub.cursor())

    def client_id(self) -> str:
        """Return a new signed client id for a stream's URL: ``?client_id=``.

        The id is bound to the user and the session of this request. With it, the page
        and the server can name the stream before the stream is open. For example::

            client_id = sse_hub.client_id()
            url = f"/events?client_id={client_id}"
            sse_hub.publish("saved", user=42, exclude_client=client_id)

        Raises:
            ConfigurationError: The app has no SECRET_KEY.

        """
        self._state()
        visitor.session_id()
        return client_ids.mint_client_id(visitor.current_identity())

    def owns_client(self, client_id: str) -> bool:
        """Tell whether a client id belongs to the user and session of this request.

        Call it in views that act on a client whose id the page sends. Any worker can
        tell, even while the client is reconnecting. For example::

            @app.post("/drafts")
            def save_draft():
                client_id = request.form["client"]
                if not sse_hub.owns_client(client_id):
                    abort(403)
                sse_hub.publish("saved", exclude_client=client_id)
                return "", 204

        Args:
            client_id: An id of ``client_id()``, or any text that a page sent.

        """
        self._state()
        return client_ids.owns_client_id(client_id, visitor.current_identity())

    def session_id(self) -> str:
        """Return the id of this request's session, for ``publish(session=...)``.

        A login and a logout replace the id. For example::

            sse_hub.publish("saved", session=sse_hub.session_id())
        """
        self._state()
        return visitor.session_id()
