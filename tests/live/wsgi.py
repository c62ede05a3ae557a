"""The live tests' site for servers that can call no factory."""

from tests.live.site import create_app

application = create_app()
