"""Ten nights: broken deployments, to try the docs and the tools of operating with.

``python -m tests.nights NAME`` starts one and tells what people say. Find the cause
with ``docs/`` and ``flask sse`` alone.
"""
