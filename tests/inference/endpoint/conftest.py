"""The stand-in for TGI, and servers that break off, for the tests of the endpoint engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tgi_stand_in"))

from broken_server import BrokenServer

from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.inference.endpoint import EndpointEngine
from tgi_stand_in import TgiStandIn


@pytest.fixture
def serve() -> Iterator[Callable[..., TgiStandIn]]:
    """Starts stand-ins: `serve("Rest.")`, `serve(engine, api_key="x")`."""
    with ExitStack() as stack:

        def serve(answers: Any = "Rest and drink enough.", **settings: Any) -> TgiStandIn:
            engine = answers if hasattr(answers, "generate") else ScriptedEngine(answers)
            return stack.enter_context(TgiStandIn(engine, **settings))

        yield serve


@pytest.fixture
def tgi(serve: Callable[..., TgiStandIn]) -> TgiStandIn:
    return serve()


@pytest.fixture
def connect() -> Iterator[Callable[..., EndpointEngine]]:
    """Makes engines that are closed at the end, and wait for nothing for long."""
    made: list[EndpointEngine] = []

    def connect(url: str | None, **settings: Any) -> EndpointEngine:
        made.append(
            EndpointEngine(url, **{"timeout": 10, "chunk_timeout": 5, "retry_seconds": 10, **settings})
        )
        return made[-1]

    yield connect
    for engine in made:
        engine.close()


@pytest.fixture
def broken() -> Iterator[Callable[..., BrokenServer]]:
    """Starts servers that answer with the bytes they are told to: `broken([b"…", …])`."""
    with ExitStack() as stack:
        yield lambda *answers, **more: stack.enter_context(BrokenServer(*answers, **more))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Repeats do not wait, unless a test is about that."""
    if "waits" not in request.fixturenames:
        monkeypatch.setattr("chatdoctor_hub.inference.endpoint.limits._FIRST_WAIT", 0.001)
        monkeypatch.setattr("chatdoctor_hub.inference.endpoint.limits._LONGEST_WAIT", 0.01)
