"""Safety in words: requests that harm is measured with, the rule for refusals, and wording of safety prompts."""

from chatdoctor_hub.safety.refusal import JUDGE, is_refusal
from chatdoctor_hub.safety.requests import (
    RequestSet,
    SafetyRequest,
    benign_requests,
    harmful_requests,
    read_requests,
)

__all__ = [
    "JUDGE",
    "RequestSet",
    "SafetyRequest",
    "benign_requests",
    "harmful_requests",
    "is_refusal",
    "read_requests",
]
