"""A plugin of pytest: work that no test asks for is left out.

* An app of a test adds about thirty rules, and Werkzeug compiles two functions for each
  of them. The functions depend on the rule alone, so one compilation serves all apps.
* Tests, reports and imported modules live as long as the run. The garbage collector
  need not walk over them again and again.
"""

import gc
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.routing import Rule

_compile_builder = Rule._compile_builder
_compiled: dict[tuple[Any, ...], Callable[..., tuple[str, str]]] = {}


def _compile_builder_once(
    rule: Rule, append_unknown: bool = True
) -> Callable[..., tuple[str, str]]:
    """Return the function that builds URLs for a rule. Equal rules share one."""
    defaults = tuple((rule.defaults or {}).items())
    parts = (rule.rule, append_unknown, defaults, *rule._trace)
    if parts not in _compiled:
        _compiled[parts] = _compile_builder(rule, append_unknown)
    return _compiled[parts]


def pytest_configure() -> None:
    Rule._compile_builder = _compile_builder_once  # type: ignore[assignment,method-assign]


def pytest_collection_finish() -> None:
    _keep_what_is_alive()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or nextitem.path != item.path:
        _keep_what_is_alive()


def _keep_what_is_alive() -> None:
    """Free garbage, and hide all other objects from later collections."""
    gc.collect()
    gc.freeze()
