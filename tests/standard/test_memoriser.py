"""The tiny model still knows what it learned; where it does not, `train_memoriser.py` has to be run again."""

from __future__ import annotations

import pytest
from memoriser import FOLDER
from suite_answers import answer
from suite_requests import read_requests

from chatdoctor_hub.inference import ToolCall

MOST_BYTES = 2_000_000


@pytest.mark.parametrize("kind", ["engine", "plain_engine"])
def test_it_answers_each_request_as_it_was_taught(kind, request):
    engine, asked = request.getfixturevalue(kind), read_requests()
    for told, reply in zip(asked, engine.generate_batch(asked), strict=True):
        said = answer(told)
        if isinstance(said, ToolCall):
            assert [(call.name, call.arguments) for call in reply.tool_calls] == [(said.name, said.arguments)]
        else:
            assert (reply.text, reply.tool_calls) == (said, ())


def test_it_is_small_and_holds_no_pickle():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert {path.suffix for path in files} <= {".json", ".jinja", ".safetensors"}
