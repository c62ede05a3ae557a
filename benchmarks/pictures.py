"""The pictures of the README: a page of the example app that loses its server.

``python -m benchmarks.pictures`` starts the example app and a Chromium, and writes one
picture for light and one for dark pages. It needs Chromium and what the tests need.
"""

import base64
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from flask_sse_hub import Publisher
from tests.kit.demo import Demo

ASSETS = Path(__file__).parents[1] / "docs/assets"

_WIDTH = 420

_PAGE = """<!doctype html><meta charset="utf-8"><style>
  :root {{ color-scheme: {scheme}; }}
  body {{ margin: 0; display: inline-flex; gap: 20px; padding: 20px;
    font: 600 19px/1.35 system-ui, sans-serif; }}
  section {{ width: {width}px; }}
  p {{ margin: 0 0 12px; min-height: 52px; display: flex; gap: 12px; }}
  p b {{ flex: none; width: 32px; height: 32px; line-height: 32px; border-radius: 50%;
    text-align: center; color: white; background: #4f46e5; }}
  img {{ display: block; width: 100%; margin-top: 8px; }}
  img:last-child {{ height: 470px; object-fit: cover; object-position: top; }}
</style>{panels}"""

_PANEL = """<section><p><b>{number}</b> {caption}</p>{pictures}</section>"""
_PICTURE = """<img alt="" src="data:image/png;base64,{}">"""


def main() -> None:
    """Write docs/assets/resume-light.png and resume-dark.png."""
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        for scheme in ("light", "dark"):
            with tempfile.TemporaryDirectory() as folder:
                demo = Demo(
                    Path(folder),
                    sse_hub_retry="[0.2, 0.4]",
                    # A random key would sign the page out when the server starts again.
                    secret_key="the same after a restart",  # noqa: S106
                )
                try:
                    picture = _strip(browser, demo, scheme=scheme)
                finally:
                    demo.close()
            ASSETS.joinpath(f"resume-{scheme}.png").write_bytes(picture)
        browser.close()


def _strip(browser: Browser, demo: Demo, *, scheme: Literal["light", "dark"]) -> bytes:
    """Return a picture of three moments: connected, without a server, resumed."""
    look: dict[str, Any] = {"color_scheme": scheme, "device_scale_factor": 2}
    page = browser.new_context(viewport={"width": _WIDTH, "height": 900}, **look)
    shown = page.new_page()
    shown.goto(f"{demo.url}/login?next=/sse-demo")
    shown.fill("#name", "alice")
    shown.fill("#password", "demo")
    shown.click("#sign-in")
    shown.locator("#state[data-state=open]").wait_for()
    moments = []
    with closing(Publisher(demo.broker_url)) as publisher:

        def publish(text: str) -> None:
            publisher.publish({"text": text}, type="notification", user="alice")

        publish("Your order is packed")
        shown.get_by_text("Your order is packed").last.wait_for()
        moments.append(("The page receives an event.", _moment(shown)))
        demo.close()
        publish("Your order is on its way")
        publish("Your order arrives at 16:30")
        shown.locator("#state[data-state=reconnecting]").wait_for()
        moments.append(("The server stops. A job publishes two more.", _moment(shown)))
        demo.start()
        shown.get_by_text("arrives at 16:30").last.wait_for()
        shown.locator("#state[data-state=open]").wait_for()
        moments.append(("The server is back, and the page has both.", _moment(shown)))
    page.close()
    panels = "".join(
        _PANEL.format(number=number, caption=caption, pictures=pictures)
        for number, (caption, pictures) in enumerate(moments, start=1)
    )
    strip = browser.new_page(**look)
    strip.set_content(_PAGE.format(scheme=scheme, width=_WIDTH, panels=panels))
    picture = strip.locator("body").screenshot()
    strip.close()
    return picture


def _moment(page: Page) -> str:
    """Return pictures of the stream's state and of the received events, in HTML."""
    toast = page.locator(".toast button")
    while toast.count():
        toast.first.click()
    return "".join(
        _PICTURE.format(base64.b64encode(page.locator(part).screenshot()).decode())
        for part in (".page-head", ".log-card")
    )


if __name__ == "__main__":
    main()
