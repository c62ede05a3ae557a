"""The client's npm package in front ends of bundlers, and in a page without a bundler.

The sources are those of the documentation. Each front end is built once, and shown in a
real Chromium.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.front_end import PACKAGES, install, run, serve
from tests.documented.samples import sample
from tests.kit.reader import wait_until
from tests.live.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PAGE = "docs/browser.md"
IMPORTS = sample(PAGE, "js", with_="sse-hub/react")
IMPORT_MAP = sample(PAGE, "html", with_="sse-hub-vue.js")

#: Modules by their names, and the text that the page shows when it has an event.
SOURCES = {
    "index.html": '<div id="root"></div><script type="module" src="/main.js"></script>',
    "main.js": IMPORTS
    + """
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";

connect("/events?channel=news", {
  on: { notification: (data) => { document.title = data.text; } },
});
function Inbox() {
  const { state, lastEvent } = useSSE({ url: "/events?channel=news" });
  return h("p", null, `${state} ${lastEvent?.data.text}`);
}
createRoot(document.getElementById("root")).render(h(Inbox));
""",
    # Vue and Svelte, with the components of the documentation.
    "components.html": (
        '<div id="vue"></div><div id="svelte"></div>'
        '<script type="module" src="/components.js"></script>'
    ),
    "components.js": """
import { createApp } from "vue";
import { mount, unmount } from "svelte";
import InVue from "./Inbox.vue";
import InSvelte from "./Inbox.svelte";

const app = createApp(InVue, { channel: "news" });
app.mount("#vue");
const component = mount(InSvelte, { target: document.getElementById("svelte") });
window.end = () => { app.unmount(); unmount(component); };
""",
    "Inbox.vue": sample(PAGE, "vue"),
    "Inbox.svelte": sample(PAGE, "svelte"),
    "vite.config.js": """
import { svelte } from "@sveltejs/vite-plugin-svelte";
import vue from "@vitejs/plugin-vue";

export default {
  plugins: [svelte(), vue()],
  build: { rollupOptions: { input: ["index.html", "components.html"] } },
};
""",
    # The program of webpack is another package.
    "webpack.mjs": """
import webpack from "webpack";

const entry = "./main.js";
const output = { path: process.cwd() + "/webpack", filename: "main.js" };
webpack({ mode: "production", entry, output, performance: false }, (error, stats) => {
  const failed = error || stats.hasErrors() || stats.hasWarnings();
  if (failed) console.error(error ?? stats.toString());
  process.exit(failed ? 1 : 0);
});
""",
    # The router of Next.js renders this page on its server, and then in the browser.
    "app/layout.jsx": (
        "export default ({ children }) => <html><body>{children}</body></html>;"
    ),
    "app/page.jsx": """"use client";
import { useSSE } from "sse-hub/react";

export default function Page() {
  const { state, lastEvent } = useSSE({ url: "/events?channel=news" });
  return <p>{`${state} ${lastEvent?.data.text}`}</p>;
}
""",
    # The packages are outside of the front end's folder.
    "next.config.mjs": """
export default { output: "export", distDir: "next", turbopack: { root: "/" } };
""",
    "package.json": '{"private": true, "type": "module"}',
}

WITHOUT_BUNDLER = """
<div id="root"></div>
<script type="module">
  import { createApp, h } from "vue";
  import { useSSE } from "sse-hub/vue";

  createApp({
    setup() {
      const { state, lastEvent } = useSSE({ url: "/events?channel=news" });
      return () => h("p", `${state.value} ${lastEvent.value?.data.text}`);
    },
  }).mount("#root");
</script>
"""

#: The text of a refusal, which only the core contains.
OF_CORE = "somebody else is logged in now"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A front end's folder."""
    folder = tmp_path_factory.mktemp("bundlers") / "front_end"
    for name, text in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    install(folder)
    return folder


@pytest.fixture(scope="module")
def by_vite(sources: Path) -> Path:
    run("../node_modules/.bin/vite", "build", cwd=sources)
    return sources / "dist"


@pytest.fixture(scope="module")
def by_webpack(sources: Path) -> Path:
    run("node", "webpack.mjs", cwd=sources)
    return with_page(sources / "webpack")


@pytest.fixture(scope="module")
def by_esbuild(sources: Path) -> Path:
    options = ["--bundle", "--minify", "--format=esm", "--outdir=esbuild"]
    run("../node_modules/.bin/esbuild", "main.js", *options, cwd=sources)
    return with_page(sources / "esbuild")


@pytest.fixture(scope="module")
def by_next(sources: Path) -> Path:
    run("../node_modules/.bin/next", "build", cwd=sources)
    return sources / "next"


def with_page(built: Path) -> Path:
    """Add the page, which these bundlers leave to others."""
    (built / "index.html").write_text(SOURCES["index.html"])
    return built


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(retry=[0.1, 0.2]) as server:
        yield server


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(chromium: "Browser", server: Server) -> Iterator[OpenPage]:
    """Return a function that opens a built page. The page may have no error."""
    context = chromium.new_context()
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))

    origin = f"http://127.0.0.1:{server.port}"
    context.request.post(f"{origin}/login/alice")

    def open_page(built: Path, name: str = "index.html") -> "Page":
        serve(context, built)
        page = context.new_page()
        page.goto(f"{origin}/{name}")
        return page

    yield open_page
    context.close()
    assert not problems


def receive(page: "Page", server: Server, expected: str) -> None:
    """Publish events until ``expected``, a JavaScript expression, is true."""

    def is_seen() -> object:
        server.publish({"text": "hello"}, channel="news", type="notification")
        return page.evaluate(expected)

    wait_until(is_seen)


@pytest.mark.parametrize("bundler", ["vite", "webpack", "esbuild"])
def test_a_bundle_receives_events(
    request: pytest.FixtureRequest, open_page: OpenPage, server: Server, bundler: str
) -> None:
    """The core and the hooks of React are in it, each once."""
    built: Path = request.getfixturevalue(f"by_{bundler}")
    page = open_page(built)
    receive(page, server, "document.title + root.textContent === 'helloopen hello'")
    scripts = [path.read_text() for path in built.rglob("*.js")]
    assert sum(script.count(OF_CORE) for script in scripts) == 1


def test_next_renders_the_hook_on_its_server_and_in_the_browser(
    open_page: OpenPage, server: Server, by_next: Path
) -> None:
    """The server opens no stream. The browser goes on with its page."""
    assert "<p>connecting undefined</p>" in (by_next / "index.html").read_text()
    page = open_page(by_next)
    receive(page, server, "document.body.textContent.startsWith('open hello')")


@pytest.mark.parametrize("framework", ["vue", "svelte"])
def test_a_component_receives_events(
    open_page: OpenPage, server: Server, by_vite: Path, framework: str
) -> None:
    """It closes its stream when it is removed."""
    page = open_page(by_vite, "components.html")
    receive(page, server, f"!!document.querySelector('#{framework} li')")
    assert page.locator(f"#{framework} [data-live=true] li").first.inner_text() == (
        "hello"
    )
    page.evaluate("end()")
    wait_until(lambda: server.stats()["connections"] == 0)


def test_a_page_without_a_bundler_uses_a_hook_by_its_import_map(
    open_page: OpenPage, server: Server, tmp_path: Path
) -> None:
    """The folder of static files has the package and Vue."""
    static = tmp_path / "static"
    static.mkdir()
    install(static)
    vue = "vue.esm-browser.prod.js"
    shutil.copy(PACKAGES / "vue/dist" / vue, static)
    (tmp_path / "index.html").write_text(IMPORT_MAP + WITHOUT_BUNDLER)
    page = open_page(tmp_path)
    receive(page, server, "root.textContent === 'open hello'")
