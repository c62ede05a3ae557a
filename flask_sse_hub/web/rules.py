"""The rules of an app for its streams, as methods of the extension.

Each rule is one function of the app. Does not know when a rule is asked.
"""

from ..auth.rules import Authorizer, Describer, Reloader, Rules
from ..runtime.arguments import explaining
from .registering import check_rule


class HasRules:
    """The decorators that register an app's rules."""

    _rules: Rules

    @explaining("@sse_hub.authorize_channel above the function", words={})
    def authorize_channel(self, authorizer: Authorizer) -> Authorizer:
        """Register the rule that opens channels: ``f(user, channel) -> bool``.

        Without a rule, only channels in SSE_HUB_PUBLIC_CHANNELS are open. A user who
        may listen to a channel may also read the channel's history.

        For a stream of ``orders.*`` the rule is called with that text. Return True only
        if the user may listen to every channel whose name begins with ``orders.``

        The rule is called when a stream opens, and again every
        SSE_HUB_REVALIDATE_INTERVAL while the stream is open. The later calls run with
        the headers and cookies of the request that opened the stream, without its body.

        For example::

            @sse_hub.authorize_channel
            def may_listen(user, channel):
                return channel == f"team.{user.team_id}"

        Args:
            authorizer: The rule. There is one for all channels.

        Returns:
            The function itself, unchanged.

        Raises:
            InvalidOption: There is a second rule, or it cannot be called as above.

        """
        check_rule(
            "authorize_channel", self._rules.authorize, authorizer, ("user", "channel")
        )
        self._rules.authorize = authorizer
        return authorizer

    @explaining("@sse_hub.describe_client above the function", words={})
    def describe_client(self, describer: Describer) -> Describer:
        """Register ``f() -> dict``, which returns metadata for each stream.

        The function is called in the request that opens a stream of the blueprint,
        after the login and the channels have been checked. Return a few short values,
        such as the page or the device. Statistics and signals show them. A text of more
        than 256 characters is cut.

        For example::

            @sse_hub.describe_client
            def describe():
                return {"page": request.args.get("page", "")}

        Args:
            describer: The function, called without arguments.

        Returns:
            The function itself, unchanged.

        Raises:
            InvalidOption: There is a second function, or it cannot be called as above.

        """
        check_rule("describe_client", self._rules.describe, describer, ())
        self._rules.describe = describer
        return describer

    @explaining("@sse_hub.reload_user above the function", words={})
    def reload_user(self, reloader: Reloader) -> Reloader:
        """Register ``f(user_id) -> user`` for users that a ``request_loader`` found.

        Such a user is not in Flask's session, but known by a bearer token, for example.
        The hub calls the function every SSE_HUB_REVALIDATE_INTERVAL while the user's
        streams are open. Return None to end them.

        Flask-Login's ``user_loader`` cannot replace the function: a token may be
        revoked while its user stays active. Without the function, streams of such users
        end after SSE_HUB_REVALIDATE_INTERVAL, and their clients reconnect with the
        token.

        For example::

            @sse_hub.reload_user
            def reload(user_id):
                return users.get(user_id)

        Args:
            reloader: The function, called with the id of the user.

        Returns:
            The function itself, unchanged.

        Raises:
            InvalidOption: There is a second function, or it cannot be called as above.

        """
        check_rule("reload_user", self._rules.reload, reloader, ("user_id",))
        self._rules.reload = reloader
        return reloader
