"""The memorised model in engines and behind servers, and how requests are recorded for LangChain's timed test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memoriser
import pytest
from suite_answers import ADAPTER

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tgi_stand_in"))

from chatdoctor_hub.inference import LocalEngine


@pytest.fixture(scope="session")
def engine() -> Iterator[LocalEngine]:
    """The model with its own template, which writes tools."""
    pytest.importorskip("torch", reason="install chatdoctor-hub[local] to run the model")
    engine = LocalEngine(memoriser.FOLDER, adapters={ADAPTER: memoriser.BRIEF})
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def plain_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """The same under a template that knows nothing of tools."""
    pytest.importorskip("torch", reason="install chatdoctor-hub[local] to run the model")
    folder = memoriser.plain_copy(tmp_path_factory.mktemp("plain") / "memoriser")
    engine = LocalEngine(folder, adapters={ADAPTER: memoriser.BRIEF})
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def vcr_config() -> dict[str, Any]:
    """The server's port is another one each time."""
    return {
        "record_mode": "once",
        "match_on": ["method", "path", "body"],
        "filter_headers": ["authorization", "user-agent", "host"],
        "before_record_request": _without_port,
        "allow_playback_repeats": True,
    }


def _without_port(request: Any) -> Any:
    request.uri = f"http://tgi{request.path}"
    return request
