"""Findings: a fault in plain words, the hop that has it, and its cure."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, or one piece of advice."""

    #: A word for programs, such as ``buffering``.
    code: str
    #: The part of the deployment that has the fault, such as ``proxy`` or ``worker``.
    hop: str
    text: str
    cure: str
    #: ``fault``: streams fail, or lose events. ``advice``: they work, but not well.
    severity: Literal["fault", "advice"] = "fault"
