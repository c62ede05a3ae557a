"""The cases of the Web Platform Tests for event streams, written again as answers.

Each engine reads them with its own EventSource and with our client beside it. So does
Node.js, with the package `eventsource`.
"""
