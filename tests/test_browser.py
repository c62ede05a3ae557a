"""The browser client's file, and what a template writes so that a page finds it."""

import gzip
import hashlib
import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask, Response, render_template_string, session
from flask.sessions import SecureCookieSessionInterface

from flask_sse_hub import ConfigurationError, InvalidName, SSEHub
from flask_sse_hub.web import client_script
from tests.conftest import MakeSite, Site
from tests.hand import fields

PATH = "/events/sse-hub.js"
FRIEND = "https://app.example"
HOSTILE = "\"'><script>alert(1)</script>&amp;--></head>"


class Head(HTMLParser):
    """The elements of a page, as a browser's parser finds them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def meta(self) -> dict[str, str | None]:
        (tag, attributes), _ = self.elements
        assert (tag, attributes["name"]) == ("meta", "sse-hub")
        return {key: attributes[key] for key in attributes if key != "name"}

    @property
    def script(self) -> dict[str, str | None]:
        _, (tag, attributes) = self.elements
        assert (tag, attributes["type"]) == ("script", "importmap")
        return {key: attributes[key] for key in attributes if key != "type"}

    @property
    def address(self) -> str:
        """The address of the client, by the import map."""
        found = json.loads(self.text)
        assert list(found) == ["imports"]
        assert list(found["imports"]) == ["sse-hub"]
        address: str = found["imports"]["sse-hub"]
        return address


def head(site: Site, *channels: str, path: str = "/", **options: Any) -> Head:
    """Return what is written into a page of alice's."""
    with site.app.test_request_context(path):
        return Head(str(site.hub.script(*channels, **options)))


@pytest.fixture
def page(site: Site) -> Site:
    """A site whose pages are templates."""

    @site.app.get("/rendered")
    def rendered() -> str:
        return render_template_string("{{ sse_hub.script('news', nonce='n') }}")

    return site


class TestFile:
    def test_it_is_a_module_for_everybody(self, site: Site) -> None:
        """As a browser takes it for a script: by its type, and without a login."""
        response = site.browser().get(PATH)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "export" in response.text

    def test_with_its_hash_it_is_kept_for_good(self, site: Site) -> None:
        """A newer one has another address."""
        visitor = site.browser()
        digest = hashlib.sha256(visitor.get(PATH).data).hexdigest()[:16]
        response = visitor.get(f"{PATH}?v={digest}")
        assert (
            response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        )

    @pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789abcdef", "?v=%00"])
    def test_without_it_browsers_ask_each_time(self, site: Site, query: str) -> None:
        """Also with that of an older one, from a page that was open meanwhile."""
        response = site.browser().get(PATH + query)
        assert response.headers["Cache-Control"] == "no-cache"

    def test_who_has_it_does_not_get_it_again(self, site: Site) -> None:
        """By its strong ETag, with the same word to caches."""
        visitor = site.browser()
        tag = visitor.get(PATH).headers["ETag"]
        assert not tag.startswith("W/")
        response = visitor.get(PATH, headers={"If-None-Match": tag})
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == tag
        assert response.headers["Cache-Control"] == "no-cache"
        other = visitor.get(PATH, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200

    @pytest.mark.parametrize(
        ("accepted", "is_compressed"),
        [
            ("gzip, deflate, br", True),
            ("*", True),
            ("gzip;q=0, *", False),
            ("br", False),
        ],
    )
    def test_it_is_compressed_for_who_can_read_that(
        self, site: Site, accepted: str, is_compressed: bool
    ) -> None:
        """Under a tag of its own, as it is another file to caches."""
        visitor = site.browser()
        plain = visitor.get(PATH)
        response = visitor.get(PATH, headers={"Accept-Encoding": accepted})
        assert ("Content-Encoding" in response.headers) == is_compressed
        assert (response.headers["ETag"] != plain.headers["ETag"]) == is_compressed
        content = gzip.decompress(response.data) if is_compressed else response.data
        assert content == plain.data
        again = {"Accept-Encoding": accepted, "If-None-Match": response.headers["ETag"]}
        assert visitor.get(PATH, headers=again).status_code == 304

    def test_a_head_request_has_the_same_headers(self, site: Site) -> None:
        """And no body."""
        client = site.browser().client
        get, head = client.get(PATH), client.head(PATH)
        assert head.data == b""
        for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
            assert head.headers[name] == get.headers[name]

    def test_it_carries_nothing_of_who_asks(self, site: Site) -> None:
        """A cache gives it to others: no cookie, and not one copy for each cookie."""

        @site.app.before_request
        def touch() -> None:
            session.permanent = True

        response = site.browser("alice").get(PATH)
        assert "Set-Cookie" not in response.headers
        assert response.headers["Vary"] == "Accept-Encoding"

    def test_it_does_not_look_at_the_session(self, make_site: MakeSite) -> None:
        """As Flask sees it; Flask-Login's own hooks look at each."""
        site = make_site(login=False, login_required=False)
        looked: list[bool] = []

        class Sessions(SecureCookieSessionInterface):
            def save_session(self, _: Flask, session: Any, __: Response) -> None:
                looked.append(session.accessed)

        site.app.session_interface = Sessions()
        visitor = site.browser()
        visitor.get(PATH)
        visitor.get("/page")
        assert looked == [False, True], "a page does look"

    def test_pages_of_allowed_origins_may_import_it(self, make_site: MakeSite) -> None:
        """And caches keep the answers apart, whatever else they vary by."""
        site = make_site(cors_origins=[FRIEND])
        site.app.before_request(lambda: session.get("x"))
        response = site.browser().get(PATH, headers={"Origin": FRIEND})
        assert response.headers["Access-Control-Allow-Origin"] == FRIEND
        assert response.headers["Vary"] == "Accept-Encoding, Origin"
        stranger = site.browser().get(PATH, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in stranger.headers


class TestScript:
    def test_a_page_gets_its_stream_its_id_and_the_client(self, page: Site) -> None:
        """In a template, where it is not escaped once more."""
        visitor = page.browser("alice")
        found = Head(visitor.get("/rendered").text)
        assert found.meta["data-url"] == "/events?channel=news"
        assert found.meta["data-user-id"] == "alice"
        assert found.script == {"nonce": "n"}
        client_id = found.meta["data-client-id"]
        stream = visitor.stream(f"/events?channel=news&client_id={client_id}")
        assert fields(stream.next("connected"))["client_id"] == client_id

    def test_the_address_of_the_client_is_the_one_that_is_kept(
        self, page: Site
    ) -> None:
        """The hash in the page is the hash of the file."""
        visitor = page.browser()
        address = Head(visitor.get("/rendered").text).address
        assert address.startswith(f"{PATH}?v=")
        assert "immutable" in visitor.get(address).headers["Cache-Control"]

    def test_a_visitor_without_a_session_gets_one(self, make_site: MakeSite) -> None:
        """The client id is bound to it, and opens no stream without it."""
        site = make_site(login_required=False)
        site.app.get("/script")(lambda: site.hub.script())
        visitor = site.browser()
        meta = Head(visitor.get("/script").text).meta
        assert "data-user-id" not in meta
        client_id = meta["data-client-id"]
        url = f"/events?client_id={client_id}"
        assert fields(visitor.stream(url).next())["client_id"] == client_id
        assert fields(site.browser().stream(url).next())["client_id"] != client_id

    def test_each_page_has_another_client_id(self, site: Site) -> None:
        """Two pages are two clients."""
        ids = {head(site).meta["data-client-id"] for _ in range(3)}
        assert len(ids) == 3

    def test_what_is_not_given_is_not_there(self, site: Site) -> None:
        """No empty nonce, which would match an empty one, and no empty cursor."""
        found = head(site)
        assert set(found.meta) == {"data-url", "data-client-id"}
        assert found.meta["data-url"] == "/events"
        assert found.script == {}

    def test_a_cursor_is_where_the_stream_begins(self, site: Site) -> None:
        """As it was taken before the page's state."""
        assert head(site, cursor="e-7").meta["data-last-event-id"] == "e-7"

    def test_a_view_of_the_apps_own_is_named_by_its_url(self, site: Site) -> None:
        """In place of the blueprint's stream."""
        assert head(site, url="/mine?a=1&b=2").meta["data-url"] == "/mine?a=1&b=2"

    def test_channels_beside_a_url_are_a_mistake(self, site: Site) -> None:
        """They would be lost without a word."""
        with pytest.raises(ConfigurationError, match="url='/mine'"):
            head(site, "news", url="/mine")

    @pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
    def test_a_channel_that_is_none_is_refused(self, site: Site, name: str) -> None:
        """In the template, where it was written, and not later by the stream."""
        with pytest.raises(InvalidName):
            head(site, name)

    @pytest.mark.parametrize("name", [HOSTILE, "a&channel=b", "ä #?%2F+", "{0}%s"])
    def test_channels_arrive_as_they_are(self, site: Site, name: str) -> None:
        """Whatever is in them, and none becomes two."""
        url = head(site, name, "news").meta["data-url"] or ""
        assert parse_qs(urlsplit(url).query) == {"channel": [name, "news"]}
        assert urlsplit(url).path == "/events"

    def test_nothing_breaks_out(self, site: Site) -> None:
        """However hostile, it is the value of an attribute and nothing else."""
        found = head(site, url=HOSTILE, nonce=HOSTILE, cursor=HOSTILE)
        assert found.meta["data-url"] == HOSTILE
        assert found.meta["data-last-event-id"] == HOSTILE
        assert found.script == {"nonce": HOSTILE}

    @pytest.mark.parametrize("root", ["/sub", "/a'&<b>", "/</script><script>"])
    def test_it_follows_where_the_app_is_mounted(self, site: Site, root: str) -> None:
        """Behind a prefix of the server's (SCRIPT_NAME), with any characters in it."""
        with site.app.test_request_context(environ_overrides={"SCRIPT_NAME": root}):
            written = site.hub.script()
        found = Head(str(written))
        prefix = (found.meta["data-url"] or "").removesuffix("/events")
        assert prefix
        assert found.address.startswith(f"{prefix}{PATH}?v=")
        assert str(written).count("</script>") == 1

    def test_it_follows_the_prefix_of_the_blueprint(self, make_site: MakeSite) -> None:
        """SSE_HUB_URL_PREFIX moves the stream and the client."""
        found = head(make_site(url_prefix="/push"))
        assert found.meta["data-url"] == "/push"
        assert found.address.startswith("/push/sse-hub.js?v=")

    def test_the_application_root_is_in_front(self) -> None:
        """Where Flask itself is told of it."""
        app = Flask("site")
        app.config.update(
            SECRET_KEY="k", APPLICATION_ROOT="/root", SSE_HUB_LOGIN_REQUIRED=False
        )
        hub = SSEHub(app)
        with app.test_request_context():
            assert Head(str(hub.script())).meta["data-url"] == "/root/events"

    def test_it_needs_a_secret_key(self, make_site: MakeSite) -> None:
        """As the client id in it does."""
        site = make_site(login=False, login_required=False)
        site.app.secret_key = None
        with pytest.raises((ConfigurationError, RuntimeError)):
            head(site)


def test_the_files_are_those_that_are_served_or_bundled() -> None:
    """The client is among them, and nothing that does not belong to it."""
    names = [file.name for file in client_script.files()]
    assert client_script.CLIENT_FILE in names
    assert names == sorted(names)
