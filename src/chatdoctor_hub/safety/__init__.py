"""Safety in words: requests that harm is measured with, the rule for refusals, and wording of safety prompts."""

from chatdoctor_hub.safety.refusal import JUDGE, is_refusal
from chatdoctor_hub.safety.requests import (
    RequestSet,
    SafetyRequest,
    benign_requests,
    harmful_requests,
    read_requests,
)
from chatdoctor_hub.safety.wording import find_safety_wording

__all__ = [
    "JUDGE",
    "RequestSet",
    "SafetyRequest",
    "benign_requests",
    "find_safety_wording",
    "harmful_requests",
    "is_refusal",
    "read_requests",
]
