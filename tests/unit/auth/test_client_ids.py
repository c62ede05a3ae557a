"""Client ids: a page knows the id of its stream, and no client can take another's."""

import pytest

from flask_sse_hub import ConfigurationError
from tests.conftest import MakeSite, Site
from tests.kit.hand import fields


class TestClientIds:
    def test_a_page_knows_its_client_id_before_it_connects(self, site: Site) -> None:
        """The id in the page's URL is the id of its stream."""
        browser = site.browser("alice")
        client_id = browser.page()["client"]
        connected = browser.stream(f"/events?client_id={client_id}").next()
        assert fields(connected)["client_id"] == client_id

    def test_an_id_assigned_at_connect_can_be_used_again(self, site: Site) -> None:
        """The next stream of the same session may take the id over."""
        browser = site.browser("alice")
        browser.page()
        first = fields(browser.stream().next())["client_id"]
        again = browser.stream(f"/events?client_id={first}").next()
        assert fields(again)["client_id"] == first

    @pytest.mark.parametrize("forged", ["x", "a~b.c.d", "\x00", "é", "." * 5000])
    def test_a_forged_id_is_refused(self, site: Site, forged: str) -> None:
        """Naming another client's id does not give access to its events."""
        response = site.browser("alice").get(
            "/events", query_string={"client_id": forged}
        )
        assert response.status_code == 400

    @pytest.mark.parametrize("put", ["<>", "==", "\x01\x01", "é", ":\x80"])
    def test_an_id_has_only_one_valid_spelling(self, site: Site, put: str) -> None:
        """Characters that the signature ignores would still be a part of the id."""
        browser = site.browser("alice")
        forged = browser.page()["client"] + put
        response = browser.get("/events", query_string={"client_id": forged})
        assert response.status_code == 400

    def test_an_id_of_another_session_is_replaced(self, site: Site) -> None:
        """The id is genuine, but belongs to an earlier login or to another user."""
        theirs = site.browser("bob").page()["client"]
        connected = site.browser("alice").stream(f"/events?client_id={theirs}").next()
        assert fields(connected)["client_id"] != theirs

    def test_an_expired_id_is_replaced(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A page that was open for days is given a new one."""
        browser = site.browser("alice")
        old = browser.page()["client"]
        monkeypatch.setattr("flask_sse_hub.auth.client_ids._CLIENT_ID_SECONDS", -1)
        connected = browser.stream(f"/events?client_id={old}").next()
        assert fields(connected)["client_id"] != old

    def test_an_id_survives_the_rotation_of_the_secret_key(self, site: Site) -> None:
        """Open pages keep their ids."""
        browser = site.browser("alice")
        old = browser.page()["client"]
        site.app.config["SECRET_KEY_FALLBACKS"] = [site.app.secret_key]
        site.app.secret_key = "a newer key"
        connected = browser.stream(f"/events?client_id={old}").next()
        assert fields(connected)["client_id"] == old

    def test_without_a_secret_key_only_streams_have_ids(
        self, make_site: MakeSite
    ) -> None:
        """The id of a page must be signed. The error says that the key is missing."""
        site = make_site(login=False, login_required=False)
        site.app.secret_key = None
        connected = site.browser().stream("/events?client_id=anything").next()
        assert len(fields(connected)["client_id"]) >= 12
        with pytest.raises((ConfigurationError, RuntimeError)):
            site.browser().get("/page")
