"""The engine against a real server: `transformers serve` with a tiny model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatdoctor_hub.errors import ConfigError, EndpointError
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.inference.endpoint import EndpointEngine

pytest.importorskip("torch")
pytest.importorskip("fastapi", reason="pip install 'transformers[serving]' to run this test")
pytest.importorskip("openai", reason="pip install 'transformers[serving]' to run this test")
pytestmark = pytest.mark.slow

USER = {"role": "user", "content": "I have a sore throat."}


@pytest.fixture(scope="module")
def url(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("hf")
    (home / "hub").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = "from transformers.cli.transformers import main; main()"
    options = ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    log = home / "log"
    with log.open("wb") as written:
        server = subprocess.Popen(
            [sys.executable, "-c", program, "serve", str(model_folder), *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            until = time.monotonic() + 120
            while not _answers(port):
                assert server.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def engine(url: str, model_folder: Path) -> Iterator[EndpointEngine]:
    engine = EndpointEngine(url, model=str(model_folder), timeout=60, max_retries=0)
    yield engine
    engine.close()


async def test_the_answers_are_those_of_the_model_itself(engine: EndpointEngine, model_folder: Path) -> None:
    assert engine.probe().dialect.name == "transformers"
    local = LocalEngine(model_folder, device="cpu", dtype="float32")
    asked = ChatRequest((USER,), Sampling(max_tokens=12))
    expected = local.generate(asked)
    found = [
        engine.generate(asked).text,
        "".join(delta.text for delta in engine.stream(asked)),
        (await engine.agenerate(asked)).text,
        "".join([delta.text async for delta in engine.astream(asked)]),
    ]
    assert [text.strip() for text in found] == [expected.text.strip()] * 4
    assert engine.generate(asked).usage.input_tokens == expected.usage.input_tokens
    assert engine.count_tokens([USER]) == local.count_tokens([USER])
    assert list(engine.stream(asked))[-1].finish_reason == expected.finish_reason


def test_draws_and_stops(engine: EndpointEngine) -> None:
    drawn = Sampling(temperature=1.5, top_k=50, seed=3, max_tokens=12)
    texts = {
        engine.generate(ChatRequest((USER,), Sampling(**{**vars(drawn), "seed": seed}))).text
        for seed in range(4)
    }
    assert len(texts) > 1
    whole = engine.generate(ChatRequest((USER,), Sampling(max_tokens=12))).text
    stop = whole[len(whole) // 2 :][:3]
    cut = engine.generate(ChatRequest((USER,), Sampling(max_tokens=12, stop=(stop,))))
    assert stop not in cut.text
    assert cut.finish_reason == "stop"


def test_what_it_would_ignore_is_refused(engine: EndpointEngine) -> None:
    with pytest.raises(ConfigError, match="response schema"):
        engine.generate(ChatRequest((USER,), response_schema={"type": "object"}))


def test_another_model_is_not_there(url: str) -> None:
    with pytest.raises(EndpointError):
        EndpointEngine(url, model="/no/such/model", max_retries=0).generate(ChatRequest((USER,)))
