"""The objects that wrong calls are made on."""

from collections.abc import Iterator
from typing import Any

import pytest

import flask_sse_hub
from flask_sse_hub import EventSourceResponse
from flask_sse_hub.testing import Published
from tests.conftest import MakeSite, Site


class Shop:
    """The objects that the calls below use, as an app has them."""

    def __init__(self, site: Site) -> None:
        self.app = site.app
        self.sse_hub: Any = site.hub
        self.publish: Any = site.hub.publish
        self.answer: Any = EventSourceResponse
        self.published: Any = Published(site.app)
        self.package: Any = flask_sse_hub


@pytest.fixture
def shop(make_site: MakeSite) -> Iterator[Shop]:
    site = make_site(login=False, login_required=False, public_channels=["*"])
    with site.app.test_request_context():
        yield Shop(site)
