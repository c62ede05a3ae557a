"""Packages and servers that people bring with them, tried with the real ones.

Each test here is a row of docs/compatibility.md, and so is every other test that is
marked with ``compat()``.
"""
