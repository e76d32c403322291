"""What the tests of the prompts share."""

from __future__ import annotations

import pytest
from chat_families import FAMILIES

from chatdoctor_hub.prompts import PromptPair


@pytest.fixture(scope="session")
def pair() -> PromptPair:
    return PromptPair.load("chatdoctor@1")


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    """The name of a model family, one test for each."""
    pytest.importorskip("transformers")
    return str(request.param)
