"""Evaluation: safety, text overlap and perplexity of any engine, each number with n and an interval.

Names are resolved on first use, so importing this room loads none of its modules.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatdoctor_hub.evaluation.held_out import Perplexity as Perplexity
    from chatdoctor_hub.evaluation.held_out import perplexity as perplexity
    from chatdoctor_hub.evaluation.overlap import Overlap as Overlap
    from chatdoctor_hub.evaluation.overlap import text_overlap as text_overlap
    from chatdoctor_hub.evaluation.safety import OverRefusalScore as OverRefusalScore
    from chatdoctor_hub.evaluation.safety import SafetyAnswer as SafetyAnswer
    from chatdoctor_hub.evaluation.safety import SafetyScore as SafetyScore
    from chatdoctor_hub.evaluation.safety import attack_success as attack_success
    from chatdoctor_hub.evaluation.safety import over_refusal as over_refusal
    from chatdoctor_hub.evaluation.statistics import McNemar as McNemar
    from chatdoctor_hub.evaluation.statistics import PairedDifference as PairedDifference
    from chatdoctor_hub.evaluation.statistics import mcnemar as mcnemar
    from chatdoctor_hub.evaluation.statistics import paired_bootstrap as paired_bootstrap
    from chatdoctor_hub.proportion import Proportion as Proportion
    from chatdoctor_hub.safety.refusal import is_refusal as is_refusal
    from chatdoctor_hub.safety.requests import RequestSet as RequestSet
    from chatdoctor_hub.safety.requests import SafetyRequest as SafetyRequest
    from chatdoctor_hub.safety.requests import benign_requests as benign_requests
    from chatdoctor_hub.safety.requests import harmful_requests as harmful_requests
    from chatdoctor_hub.safety.requests import read_requests as read_requests

_HOMES = {
    "McNemar": "statistics",
    "OverRefusalScore": "safety",
    "Overlap": "overlap",
    "PairedDifference": "statistics",
    "Perplexity": "held_out",
    "Proportion": ".proportion",
    "RequestSet": ".safety.requests",
    "SafetyAnswer": "safety",
    "SafetyRequest": ".safety.requests",
    "SafetyScore": "safety",
    "attack_success": "safety",
    "benign_requests": ".safety.requests",
    "harmful_requests": ".safety.requests",
    "is_refusal": ".safety.refusal",
    "mcnemar": "statistics",
    "over_refusal": "safety",
    "paired_bootstrap": "statistics",
    "perplexity": "held_out",
    "read_requests": ".safety.requests",
    "text_overlap": "overlap",
}

__all__ = [
    "McNemar",
    "OverRefusalScore",
    "Overlap",
    "PairedDifference",
    "Perplexity",
    "Proportion",
    "RequestSet",
    "SafetyAnswer",
    "SafetyRequest",
    "SafetyScore",
    "attack_success",
    "benign_requests",
    "harmful_requests",
    "is_refusal",
    "mcnemar",
    "over_refusal",
    "paired_bootstrap",
    "perplexity",
    "read_requests",
    "text_overlap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
