"""The samples of the page about JWTs and bearer tokens."""

import time
from typing import Any

import jwt
import pytest

from tests.conftest import MakeSite, Site, User
from tests.documented.samples import sample
from tests.kit.reader import wait_until

PAGE = "docs/tokens.md"
LOADER = sample(PAGE, "python", with_="request_loader")
RELOAD = sample(PAGE, "python", with_="reload_user")

KEY = "a key for tests that is long enough for HS256"


@pytest.fixture
def loaded() -> list[str]:
    """The users that were loaded, again and again while their streams are open."""
    return []


@pytest.fixture
def site(make_site: MakeSite, loaded: list[str]) -> Site:
    site = make_site(revalidate_interval=0.05)

    def load_user(name: str) -> User:
        loaded.append(name)
        return User(name)

    names = {
        "jwt": jwt,
        "JWT_KEY": KEY,
        "load_user": load_user,
        "login_manager": site.app.login_manager,  # type: ignore[attr-defined]
        "sse_hub": site.hub,
    }
    exec(LOADER + RELOAD, names)  # noqa: S102
    return site


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode(claims, KEY, algorithm='HS256')}"}


def test_a_client_with_a_token_receives_the_events_of_its_user(
    site: Site, loaded: list[str]
) -> None:
    """Its stream goes on after it was checked again, and after a logout elsewhere."""
    app, browser = site.browser(), site.browser("ada")
    stream = app.stream(headers=bearer(sub="ada"))
    stream.next("connected")
    other = browser.stream()
    other.next("connected")
    browser.logout()
    other.wait_for_end()
    loaded.clear()
    wait_until(lambda: loaded[:2] == ["ada", "ada"])
    site.hub.publish("for ada", user="ada")
    assert stream.data(1) == ["for ada"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic YWRhOmFkYQ=="},
        bearer(sub="ada", exp=time.time() - 60),
    ],
    ids=["none", "no token", "another scheme", "expired"],
)
def test_others_are_answered_401(site: Site, headers: dict[str, str]) -> None:
    """A bad token is no error of the app."""
    assert site.browser().get(headers=headers).status_code == 401
