"""The names of the room: lazy, true, and the same for type checkers."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatdoctor_hub import langchain as room


def test_each_name_is_what_its_home_offers():
    assert sorted(room.__all__) == sorted(room._HOMES) == dir(room)
    for name, home in room._HOMES.items():
        module = importlib.import_module(f"chatdoctor_hub.langchain.{home}")
        assert name in module.__all__
        assert getattr(room, name) is getattr(module, name)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(room.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module.rpartition(".")[2] for node in block.body for alias in node.names}
    assert seen == room._HOMES


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'Nurse'"):
        _ = room.Nurse


def test_the_chat_model_alone_loads_nothing_of_knowledge():
    code = "import json, sys; from chatdoctor_hub import ChatDoctor; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert "chatdoctor_hub.langchain.chat_doctor" in loaded
    unwanted = (
        "chatdoctor_hub.knowledge",
        "chatdoctor_hub.langchain.knowledge",
        "chatdoctor_hub.langchain.retrievers",
    )
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_the_doctor_needs_no_graph():
    code = (
        "import json, sys; from chatdoctor_hub.langchain import KnowledgeDoctor\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"langgraph", "langchain", "torch", "numpy", "wikipediaapi"} & set(json.loads(done.stdout))
