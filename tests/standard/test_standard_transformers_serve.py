"""LangChain's integration suite over `transformers serve`: every test that this server can carry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memoriser
import pytest

pytest.importorskip("torch", reason="install chatdoctor-hub[local] to run the model")
pytest.importorskip("peft", reason="install chatdoctor-hub[local] to run the model")
pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")
pytest.importorskip("fastapi", reason="pip install 'transformers[serving]' to run this suite")
pytest.importorskip("openai", reason="pip install 'transformers[serving]' to run this suite")

from standard_claims import ALL, OTHER_INPUTS, Claims, SomeTests, running
from started_server import started

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.langchain import ChatDoctor

pytestmark = pytest.mark.slow

_IGNORES_CHOICE = "it ignores tool_choice, so no call can be forced"
_IGNORES_SCHEMA = "it ignores response_format, and no call can be forced that would stand in for it"
BEYOND_IT = {
    "test_tool_choice": _IGNORES_CHOICE,
    "test_structured_few_shot_examples": _IGNORES_CHOICE,
    "test_unicode_tool_call_integration": _IGNORES_CHOICE,
    "test_structured_output": _IGNORES_SCHEMA,
    "test_structured_output_async": _IGNORES_SCHEMA,
    "test_structured_output_pydantic_2_v1": _IGNORES_SCHEMA,
    "test_structured_output_optional_param": _IGNORES_SCHEMA,
    "test_json_mode": _IGNORES_SCHEMA,
}
"""The tests that this server cannot carry, and why; `test_standard_tgi.py` runs them over the same engine."""


@pytest.fixture(scope="module")
def vcr_cassette_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is recorded names folders of this machine; it is not kept."""
    return str(tmp_path_factory.mktemp("cassettes"))


@pytest.fixture(scope="module")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with the adapter merged into it, for the server knows no adapters by name."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("second") / "brief"
    model = AutoModelForCausalLM.from_pretrained(memoriser.FOLDER)
    PeftModel.from_pretrained(model, str(memoriser.BRIEF)).merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(memoriser.FOLDER).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that loads what a request names."""
    home = tmp_path_factory.mktemp("hf")
    (home / "hub").mkdir()
    program = "from transformers.cli.transformers import main; main()"
    apart = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with started([sys.executable, "-c", program, "serve", "--device", "cpu"], home, apart) as url:
        yield url


@pytest.fixture(scope="class")
def _server(request: pytest.FixtureRequest, url: str, second_model: Path) -> None:
    request.cls.url, request.cls.second = url, str(second_model)


@pytest.mark.usefixtures("_server")
@running(ALL - OTHER_INPUTS - set(BEYOND_IT))
class TestTransformersServe(Claims, SomeTests):
    """All tests but those of `BEYOND_IT` and `OTHER_INPUTS`, as they are."""

    url: str
    second: str

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_url": self.url, "model": str(memoriser.FOLDER), "timeout": 60}

    @property
    def has_tool_choice(self) -> bool:
        return False

    @property
    def model_override_value(self) -> str:
        return self.second


def test_what_is_left_out_is_there() -> None:
    assert set(BEYOND_IT) | OTHER_INPUTS < ALL


@pytest.mark.parametrize("name", ["tool_choice", "schema"])
def test_what_is_beyond_it_is_refused(name: str, url: str) -> None:
    llm = ChatDoctor(base_url=url, model=str(memoriser.FOLDER))
    form = {"title": "look", "description": "Look.", "type": "object"}
    asked = {
        "tool_choice": llm.bind_tools([form], tool_choice="any"),
        "schema": llm.with_structured_output(form),
    }[name]
    with pytest.raises(ConfigError, match="transformers serve"):
        asked.invoke("Hello")
