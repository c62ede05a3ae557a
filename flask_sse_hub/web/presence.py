"""Presence in an app: its rules, and the questions that views and scripts ask.

Joins requests with the roster of the hub. Does not know how people are counted.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import has_request_context

from ..auth.rules import PresenceDescriber, PresenceViewer, Rules
from ..auth.visitor import Visitor
from ..errors import BrokerUnavailable, ConfigurationError, InvalidName
from ..events.channel_patterns import is_pattern
from ..events.record import PresencePart
from ..hub.clients.client import Client
from ..hub.clients.present_client import PresentClient, seats_of
from ..hub.presence.questions import AnswersPresence, KnowsPeople, look_up
from ..hub.presence.records import described
from ..runtime.arguments import explaining
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import FirstTime, RareLog
from .client_metadata import checked_metadata
from .config import Config
from .registering import check_rule

if TYPE_CHECKING:
    from .app_state import AppState

log = CodedLog(__name__)


class PresenceOfStreams:
    """The part of each stream in the presence of one app's channels."""

    def __init__(self, config: Config, rules: Rules) -> None:
        self._is_on = bool(config.presence)
        self._has_presence = config.has_presence
        self._reaches_presence = config.reaches_presence
        self._rules = rules
        self._first_time = FirstTime()
        self._rare_log = RareLog(log)

    def maker(
        self,
        visitor: Visitor,
        channels: Sequence[str],
        *,
        invisible: bool,
        lists: bool,
        may_change: bool,
    ) -> Callable[..., Client]:
        """Return the class of a visitor's client, with its part in the presence.

        ``may_change`` tells whether the client may enter other channels later. Raises
        InvalidName for a pattern by which a visible visitor would be unseen.
        """
        parts = self.parts(visitor, channels, invisible=invisible)
        if not parts and not (may_change and self._is_on):
            return Client
        return partial(
            PresentClient,
            seats=tuple(seats_of(visitor.identity.user, parts)),
            sees=[each.channel for each in parts if each.sees],
            lists=lists,
        )

    def parts(
        self, visitor: Visitor, channels: Sequence[str], *, invisible: bool = False
    ) -> tuple[PresencePart, ...]:
        """Return a visitor's part in each of the channels that have presence.

        Raises InvalidName for a pattern by which a visible visitor would be unseen.
        """
        for name in () if invisible else filter(is_pattern, channels):
            if self._reaches_presence(name):
                raise InvalidName(
                    f"{name!r:.60} covers channels with presence: name each channel, so"
                    " that the people in it hear of the stream. The stream of a view"
                    " can be invisible: stream(..., invisible=True)"
                )
        return tuple(
            PresencePart(
                name,
                None if invisible else self._description(visitor, name),
                self._may_see(visitor.person, name),
            )
            for name in filter(self._has_presence, channels)
        )

    def _may_see(self, person: Any, channel: str) -> bool:
        rule = self._rules.may_see_presence
        if rule is None:
            return True
        try:
            return bool(rule(person, channel))
        except Exception as error:  # noqa: BLE001 - the stream opens all the same
            self._say("may_see_presence", error)
            return False

    def _description(self, visitor: Visitor, channel: str) -> str | None:
        """Return a visitor's description as text, None for an invisible visitor."""
        user, describe = visitor.identity.user, self._rules.describe_presence
        if user is None or describe is None:
            return described({})
        try:
            metadata = describe(visitor.person, channel)
            if metadata is None:
                return None
            return described(checked_metadata(metadata, self._first_time) or {})
        except Exception as error:  # noqa: BLE001 - the stream opens all the same
            self._say("describe_presence", error)
            return described({})

    def _say(self, rule: str, error: Exception) -> None:
        self._rare_log.error(
            "SSE-1705",
            f"the function of @sse_hub.{rule} failed, and a stream goes on without it:"
            f" {error!r:.200}",
            kind=rule,
        )


class HasPresence(AnswersPresence):
    """The rules and questions of presence, as methods of the extension."""

    _rules: Rules
    _state: "Callable[[], AppState]"

    @explaining("@sse_hub.describe_presence above the function", words={})
    def describe_presence(self, describer: PresenceDescriber) -> PresenceDescriber:
        """Register ``f(user, channel) -> dict``, which describes a present user.

        Everybody who may see the presence in the channel receives the description, such
        as a name and a picture. The function is called in the request that opens a
        stream. Return a few short values, or None to keep this user invisible. A text
        of more than 256 characters is cut. If the function fails, the user is listed
        without a description.

        For example::

            @sse_hub.describe_presence
            def describe(user, channel):
                return {"name": user.name}

        Args:
            describer: The function, called with the user and a channel.

        Returns:
            The function itself, unchanged.

        Raises:
            InvalidOption: There is a second function, or it cannot be called as above.

        """
        check_rule(
            "describe_presence",
            self._rules.describe_presence,
            describer,
            ("user", "channel"),
        )
        self._rules.describe_presence = describer
        return describer

    @explaining("@sse_hub.may_see_presence above the function", words={})
    def may_see_presence(self, viewer: PresenceViewer) -> PresenceViewer:
        """Register ``f(user, channel) -> bool``, which lets a user see who is present.

        Without a function, everybody who may listen to a channel may see it. The
        function is called in the request that opens a stream. If it fails, the answer
        is no.

        For example::

            @sse_hub.may_see_presence
            def may_see(user, channel):
                return user.is_authenticated

        Args:
            viewer: The function, called with the user and a channel.

        Returns:
            The function itself, unchanged.

        Raises:
            InvalidOption: There is a second function, or it cannot be called as above.

        """
        check_rule(
            "may_see_presence",
            self._rules.may_see_presence,
            viewer,
            ("user", "channel"),
        )
        self._rules.may_see_presence = viewer
        return viewer

    def _people(self, channel: str | None) -> KnowsPeople:
        state = self._state()
        config = state.config
        if not config.presence or (channel and not config.has_presence(channel)):
            which = "any channel" if channel is None else f"the channel {channel!r:.60}"
            raise ConfigurationError(
                f"SSE_HUB_PRESENCE does not name {which}: add a pattern of channels,"
                ' such as "room.*"'
            )
        hub = state.hub
        if has_request_context():
            # The process of a server asks again. A script would pay for threads.
            with suppress(BrokerUnavailable):
                hub.start()
        return hub.roster if hub.ready else look_up(hub.broker)
