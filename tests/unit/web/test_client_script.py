"""The browser client's file, and the tags with which a page finds it."""

import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from flask import Flask, Response, render_template_string, session
from flask.sessions import SecureCookieSessionInterface

from flask_sse_hub import ConfigurationError, InvalidName, SSEHub
from tests.conftest import MakeSite, Site
from tests.kit.hand import fields

PATH = "/events/sse-hub.js"
SHARED_PATH = "/events/sse-hub-shared.js"
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
    def addresses(self) -> dict[str, str]:
        """The addresses of the modules in the import map."""
        found = json.loads(self.text)
        assert list(found) == ["imports"]
        addresses: dict[str, str] = found["imports"]
        *names, shared = addresses
        assert names == [
            "sse-hub",
            "sse-hub/answer",
            "sse-hub/refresh",
        ]
        # The URL that the core imports, relative to its own.
        assert shared == urljoin(addresses["sse-hub"], "sse-hub-shared.js")
        return addresses

    @property
    def address(self) -> str:
        """The address of the core."""
        return self.addresses["sse-hub"]


def head(site: Site, *channels: str, path: str = "/", **options: Any) -> Head:
    """Return the tags that the hub writes into a page."""
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
    def test_it_is_a_module_that_needs_no_login(self, site: Site) -> None:
        """The content type is one that browsers accept for a script."""
        response = site.browser().get(PATH)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "export" in response.text

    def test_the_import_map_has_modules_that_are_cached_for_good(
        self, site: Site
    ) -> None:
        """They import nothing at once: an import in them could not have a hash."""
        for name, address in head(site).addresses.items():
            found = site.browser().get(address)
            assert "immutable" in found.headers["Cache-Control"]
            file = name if name == SHARED_PATH else f"/{name.replace('/', '-')}.js"
            assert f"{file}?v=" in address
            assert re.search(r"\bimport\s*[^\s(]*\s*from\b", found.text) is None

    def test_the_core_imports_one_file_later(self, site: Site) -> None:
        """The import map gives its URL the hash. Without a map the URL works too."""
        imported = re.findall(r'\bimport\("(.*?)"\)', site.browser().get(PATH).text)
        assert [urljoin(PATH, each) for each in imported] == [SHARED_PATH]
        response = site.browser().get(SHARED_PATH)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-cache"

    @pytest.mark.parametrize(
        ("path", "function"),
        [
            (PATH, "connect"),
            ("/events/sse-hub-answer.js", "answer"),
            ("/events/sse-hub-refresh.js", "refreshFragments"),
            (SHARED_PATH, "whyNotShared"),
        ],
    )
    def test_its_source_map_is_where_developer_tools_look(
        self, site: Site, path: str, function: str
    ) -> None:
        """The map has the readable sources, and the module names it."""
        visitor = site.browser()
        name = visitor.get(path).text.rpartition("sourceMappingURL=")[2].strip()
        response = visitor.get(f"/events/{name}")
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-cache"
        sources = response.json["sourcesContent"]
        assert any(f"export function {function}(" in source for source in sources)

    def test_an_address_with_the_current_hash_is_cached_for_good(
        self, site: Site
    ) -> None:
        """A newer file has another address."""
        visitor = site.browser()
        digest = hashlib.sha256(visitor.get(PATH).data).hexdigest()[:16]
        response = visitor.get(f"{PATH}?v={digest}")
        assert (
            response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        )

    @pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789abcdef", "?v=%00"])
    def test_an_address_without_the_current_hash_is_revalidated(
        self, site: Site, query: str
    ) -> None:
        """A page that is still open may have the hash of an older file."""
        response = site.browser().get(PATH + query)
        assert response.headers["Cache-Control"] == "no-cache"

    def test_an_unchanged_file_is_not_sent_again(self, site: Site) -> None:
        """The file has a strong ETag, and a 304 has the same Cache-Control."""
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
    def test_it_is_compressed_for_clients_that_accept_gzip(
        self, site: Site, accepted: str, is_compressed: bool
    ) -> None:
        """The compressed file has its own ETag: caches store it separately."""
        visitor = site.browser()
        plain = visitor.get(PATH)
        response = visitor.get(PATH, headers={"Accept-Encoding": accepted})
        assert ("Content-Encoding" in response.headers) == is_compressed
        assert (response.headers["ETag"] != plain.headers["ETag"]) == is_compressed
        content = gzip.decompress(response.data) if is_compressed else response.data
        assert content == plain.data
        again = {"Accept-Encoding": accepted, "If-None-Match": response.headers["ETag"]}
        assert visitor.get(PATH, headers=again).status_code == 304

    def test_a_head_request_receives_the_same_headers(self, site: Site) -> None:
        """The response has no body."""
        client = site.browser().client
        get, head = client.get(PATH), client.head(PATH)
        assert head.data == b""
        for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
            assert head.headers[name] == get.headers[name]

    def test_it_contains_nothing_about_its_visitor(self, site: Site) -> None:
        """A shared cache stores one copy for all: no cookie is set or varied by."""

        @site.app.before_request
        def touch() -> None:
            session.permanent = True

        response = site.browser("alice").get(PATH)
        assert "Set-Cookie" not in response.headers
        assert response.headers["Vary"] == "Accept-Encoding"

    def test_it_does_not_access_the_session(self, make_site: MakeSite) -> None:
        """Flask then adds no "Vary: Cookie". Flask-Login would access every session."""
        site = make_site(login=False, login_required=False)
        looked: list[bool] = []

        class Sessions(SecureCookieSessionInterface):
            def save_session(self, _: Flask, session: Any, __: Response) -> None:
                looked.append(session.accessed)

        site.app.session_interface = Sessions()
        visitor = site.browser()
        visitor.get(PATH)
        visitor.get("/page")
        assert looked == [False, True], "a page accesses the session"

    def test_pages_of_allowed_origins_may_import_it(self, make_site: MakeSite) -> None:
        """Caches keep responses to different origins apart by Vary."""
        site = make_site(cors_origins=[FRIEND])
        site.app.before_request(lambda: session.get("x"))
        response = site.browser().get(PATH, headers={"Origin": FRIEND})
        assert response.headers["Access-Control-Allow-Origin"] == FRIEND
        assert response.headers["Vary"] == "Accept-Encoding, Origin"
        stranger = site.browser().get(PATH, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in stranger.headers


class TestScript:
    def test_a_page_contains_its_stream_its_client_id_and_the_client(
        self, page: Site
    ) -> None:
        """The template does not escape the tags a second time."""
        visitor = page.browser("alice")
        found = Head(visitor.get("/rendered").text)
        assert found.meta["data-url"] == "/events?channel=news"
        assert found.meta["data-user-id"] == "alice"
        assert found.script == {"nonce": "n"}
        client_id = found.meta["data-client-id"]
        stream = visitor.stream(f"/events?channel=news&client_id={client_id}")
        assert fields(stream.next("connected"))["client_id"] == client_id

    def test_a_page_uses_the_address_that_is_cached_for_good(self, page: Site) -> None:
        """The hash in the page is the hash of the file."""
        visitor = page.browser()
        address = Head(visitor.get("/rendered").text).address
        assert address.startswith(f"{PATH}?v=")
        assert "immutable" in visitor.get(address).headers["Cache-Control"]

    def test_a_visitor_without_a_session_is_given_one(
        self, make_site: MakeSite
    ) -> None:
        """The client id is bound to the session and is not accepted without it."""
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

    def test_options_that_are_not_given_are_left_out(self, site: Site) -> None:
        """An empty nonce would match an empty one; an empty cursor means nothing."""
        found = head(site)
        assert set(found.meta) == {"data-url", "data-client-id"}
        assert found.meta["data-url"] == "/events"
        assert found.script == {}

    def test_a_cursor_sets_where_the_stream_begins(self, site: Site) -> None:
        """The view took the cursor before it loaded the page's state."""
        assert head(site, cursor="e-7").meta["data-last-event-id"] == "e-7"

    def test_url_selects_a_view_of_the_app(self, site: Site) -> None:
        """The page connects to that view instead of the blueprint's stream."""
        assert head(site, url="/mine?a=1&b=2").meta["data-url"] == "/mine?a=1&b=2"

    def test_channels_together_with_a_url_are_refused(self, site: Site) -> None:
        """The channels would be lost silently."""
        with pytest.raises(ConfigurationError, match="url='/mine'"):
            head(site, "news", url="/mine")

    @pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
    def test_an_invalid_channel_name_is_refused(self, site: Site, name: str) -> None:
        """The template raises, rather than the stream later."""
        with pytest.raises(InvalidName):
            head(site, name)

    @pytest.mark.parametrize("name", [HOSTILE, "a&channel=b", "ä #?%2F+", "{0}%s"])
    def test_channel_names_are_escaped_in_the_url(self, site: Site, name: str) -> None:
        """No name changes its meaning or becomes two names."""
        url = head(site, name, "news").meta["data-url"] or ""
        assert parse_qs(urlsplit(url).query) == {"channel": [name, "news"]}
        assert urlsplit(url).path == "/events"

    def test_hostile_values_stay_inside_their_attributes(self, site: Site) -> None:
        """Each value is the value of one attribute and nothing else."""
        found = head(site, url=HOSTILE, nonce=HOSTILE, cursor=HOSTILE)
        assert found.meta["data-url"] == HOSTILE
        assert found.meta["data-last-event-id"] == HOSTILE
        assert found.script == {"nonce": HOSTILE}

    @pytest.mark.parametrize("root", ["/sub", "/a'&<b>", "/</script><script>"])
    def test_addresses_include_the_prefix_of_the_server(
        self, site: Site, root: str
    ) -> None:
        """The prefix (SCRIPT_NAME) may contain any characters."""
        with site.app.test_request_context(environ_overrides={"SCRIPT_NAME": root}):
            written = site.hub.script()
        found = Head(str(written))
        prefix = (found.meta["data-url"] or "").removesuffix("/events")
        assert prefix
        assert found.address.startswith(f"{prefix}{PATH}?v=")
        assert str(written).count("</script>") == 1

    def test_addresses_include_the_prefix_of_the_blueprint(
        self, make_site: MakeSite
    ) -> None:
        """SSE_HUB_URL_PREFIX moves the stream and the client."""
        found = head(make_site(url_prefix="/push"))
        assert found.meta["data-url"] == "/push"
        assert found.address.startswith("/push/sse-hub.js?v=")

    def test_addresses_include_the_application_root(self) -> None:
        """Flask's APPLICATION_ROOT comes before the blueprint's prefix."""
        app = Flask("site")
        app.config.update(
            SECRET_KEY="k", APPLICATION_ROOT="/root", SSE_HUB_LOGIN_REQUIRED=False
        )
        hub = SSEHub(app)
        with app.test_request_context():
            assert Head(str(hub.script())).meta["data-url"] == "/root/events"

    def test_script_needs_a_secret_key(self, make_site: MakeSite) -> None:
        """The client id in the page is signed with the key."""
        site = make_site(login=False, login_required=False)
        site.app.secret_key = None
        with pytest.raises((ConfigurationError, RuntimeError)):
            head(site)
