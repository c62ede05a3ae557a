"""A catalogue of mistakes: each wrong call beside the answer that its author reads.

The calls are those of people who know Flask-SSE, Flask-SocketIO, sse-starlette or a
browser's EventSource. Each text is whole, so that it can be read as its reader does.
"""
