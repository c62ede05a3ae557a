"""A description of the public API: each public name with its signature."""

import enum
import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = (
    "flask_sse_hub",
    "flask_sse_hub.brokers",
    "flask_sse_hub.testing",
    "flask_sse_hub.webhooks",
)


def described() -> Iterator[str]:
    """Yield a line for each public name, method and field."""
    for name in MODULES:
        module = import_module(name)
        for public in sorted(module.__all__):
            yield from _described(f"{name}.{public}", getattr(module, public))


def _described(name: str, found: Any) -> Iterator[str]:
    if inspect.isclass(found):
        yield from _described_class(name, found)
    elif callable(found):
        yield f"{name}{_signature(found)}"
    else:
        yield f"{name}: {type(found).__name__}"


def _described_class(name: str, found: type) -> Iterator[str]:
    if issubclass(found, BaseException):
        yield f"{name}({', '.join(base.__name__ for base in found.__mro__[1:-2])})"
        return
    if issubclass(found, enum.Enum):
        yield f"{name}: {', '.join(member.value for member in found)}"
        return
    yield f"{name}{_signature(found)}"
    if is_dataclass(found):
        yield f"{name} has {', '.join(field.name for field in fields(found))}"
    for attribute in sorted(dir(found)):
        if attribute.startswith("_") or _is_inherited(found, attribute):
            continue
        value = inspect.getattr_static(found, attribute)
        value = getattr(value, "__func__", value)
        if inspect.isfunction(value):
            yield f"{name}.{attribute}{_signature(value)}"


def _is_inherited(found: type, attribute: str) -> bool:
    """Tell whether a class has an attribute from another package."""
    for base in found.__mro__:
        if attribute in vars(base):
            return not base.__module__.startswith("flask_sse_hub")
    return True


def _signature(found: Any) -> str:
    """Return a signature without annotations, which may be written in many ways."""
    try:
        signature = inspect.signature(found)
    except ValueError:
        return "()"
    bare = [
        each.replace(annotation=inspect.Parameter.empty, default=_named(each.default))
        for each in signature.parameters.values()
    ]
    return str(
        signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    )


class _Named:
    """A default that is a function, as its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _named(default: Any) -> Any:
    return _Named(default.__name__) if inspect.isfunction(default) else default


if __name__ == "__main__":
    Path(__file__).with_suffix(".txt").write_text("\n".join(described()) + "\n")
