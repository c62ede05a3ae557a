"""Run pytest with everything patched, as gunicorn's gevent worker runs the code."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import pytest  # noqa: E402

sys.exit(pytest.main(sys.argv[1:]))
