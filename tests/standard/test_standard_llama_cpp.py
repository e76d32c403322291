"""LangChain's integration suite over the server of llama-cpp-python: every test that this server can carry.

    CHATDOCTOR_LLAMA_CPP=/path/to/python python -m pytest -m slow tests/standard/test_standard_llama_cpp.py

with a Python that has `llama-cpp-python[server]`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import memoriser
import pytest

pytest.importorskip("torch", reason="install chatdoctor-hub[local] to write the model as GGUF")
pytest.importorskip("gguf", reason="install chatdoctor-hub[gguf] to write the model as GGUF")
pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from standard_claims import ALL, OTHER_INPUTS, Claims, SomeTests, running
from started_server import started

from chatdoctor_hub.training.weights import export_gguf

pytestmark = pytest.mark.slow

_READS_NO_CALLS = "it leaves calls that the model makes of itself in the text"
_ONE_MODEL = "it serves one model under any name"
BEYOND_IT = {
    "test_agent_loop": _READS_NO_CALLS,
    "test_tool_choice": "of several tools it can force one by its name, but not any",
    "test_ainvoke_with_model_override": _ONE_MODEL,
    "test_astream_with_model_override": _ONE_MODEL,
    "test_invoke_with_model_override": _ONE_MODEL,
    "test_stream_with_model_override": _ONE_MODEL,
}
"""The tests that this server cannot carry, and why; `test_standard_tgi.py` runs them over the same engine."""


@pytest.fixture(scope="module")
def vcr_cassette_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cassettes"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = os.environ.get("CHATDOCTOR_LLAMA_CPP")
    if python is None:
        pytest.skip("CHATDOCTOR_LLAMA_CPP names no Python with llama-cpp-python")
    folder = tmp_path_factory.mktemp("llama")
    file = folder / "memoriser.gguf"
    export_gguf(memoriser.FOLDER, file, "f32")
    size = ["--n_ctx", "1024", "--n_threads", "1"]
    command = [python, "-m", "llama_cpp.server", "--model", str(file), *size]
    with started(command, folder, {}) as url:
        yield url


@pytest.fixture(scope="class")
def _server(request: pytest.FixtureRequest, url: str) -> None:
    request.cls.url = url


@pytest.mark.usefixtures("_server")
@running(ALL - OTHER_INPUTS - set(BEYOND_IT))
class TestLlamaCpp(Claims, SomeTests):
    """All tests but those of `BEYOND_IT` and `OTHER_INPUTS`, as they are."""

    url: str

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_url": self.url, "timeout": 60}
