"""Importing costs nothing and changes nothing, and needs the base dependencies only: in fresh interpreters."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from typing import Any

import pytest

import chatdoctor_hub

HEAVY = (
    "torch",
    "transformers",
    "langchain_core",
    "langchain",
    "httpx",
    "peft",
    "numpy",
    "pydantic",
    "jinja2",
    "yaml",
)
EXTRAS = (
    "torch", "transformers", "peft", "pyarrow", "matplotlib", "sacrebleu", "rouge_score", "tokenizers", "accelerate",
    "numpy", "safetensors", "langchain", "langgraph", "langchain_tests", "pytest", "hypothesis", "ftfy", "datasketch",
    "scipy", "spacy", "presidio_analyzer", "sentence_transformers", "wikipediaapi", "datatrove",
)  # fmt: skip
ROOMS = sorted(found.name for found in pkgutil.iter_modules(chatdoctor_hub.__path__))

# Imports every module, each as if it were the first of this package, and reports what went wrong.
EVERY_MODULE = """
import importlib, json, logging, os, pkgutil, sys, warnings

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in BLOCKED or name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Blocked())
# What these do to the process is theirs.
import huggingface_hub, jinja2, langchain_core.language_models, pydantic, rich, tenacity, typer, yaml
import chatdoctor_hub

def state():
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    return {
        "environment": dict(os.environ),
        "log handlers": [repr(item.handlers) for item in loggers if item.handlers],
        "log level": logging.root.level,
        "warning filters": len(warnings.filters),
        "working directory": os.getcwd(),
        "path": list(sys.path),
    }

def ours():
    return {name for name in sys.modules if name.split(".")[0] == "chatdoctor_hub"}

def forget(names):
    for name in names:
        del sys.modules[name]

# A module is imported after the packages that it is in: what these load is there, and nothing else.
def stage(package):
    forget(ours())
    try:
        importlib.import_module(package)
    except Exception:
        pass  # It is a fault of its own.
    return ours()

modules = ["chatdoctor_hub", *(m.name for m in pkgutil.walk_packages(chatdoctor_hub.__path__, "chatdoctor_hub."))]
faults, staged, loaded = {}, None, set()
for module in sorted(modules, key=lambda name: name.rpartition(".")):
    package = module.rpartition(".")[0]
    if package != staged:
        staged, loaded = package, stage(package) if package else set()
    forget(ours() - loaded)
    before = state()
    try:
        importlib.import_module(module)
    except Exception as error:
        # Classes that extend PEFT's, transformers' or torch's cannot be without them; they say so.
        extending = (
            "chatdoctor_hub.adapters",
            "chatdoctor_hub.inference.scheduling.layers",
            "chatdoctor_hub.training.passes.fused",
        )
        if module.startswith(extending) and type(error).__name__ == "MissingExtraError":
            continue
        faults[module] = f"{type(error).__name__}: {error}"
        continue
    changed = [name for name, value in state().items() if value != before[name]]
    if changed:
        faults[module] = f"changed: {changed}"
print(json.dumps({"modules": len(modules), "faults": faults}))
"""


def fresh(code: str, *args: str) -> Any:
    """What the last line that the code prints says, run in a new interpreter."""
    found = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:chatdoctor_hub", "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import json, sys\nbefore = set(sys.modules)\nimport chatdoctor_hub\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    loaded = fresh(code)
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []
    assert [name for name in loaded if name.startswith("chatdoctor_hub.")] == []


@pytest.mark.parametrize("name", ["Dialogue", "Turn", "PromptPair", "DiseaseTable", "Disease"])
def test_what_needs_no_model_loads_none(name: str) -> None:
    loaded = fresh(
        f"import json, sys\nfrom chatdoctor_hub import {name}\nprint(json.dumps(sorted(sys.modules)))"
    )
    heavy = {"torch", "transformers", "langchain_core", "langchain", "httpx", "peft", "numpy"}
    assert [found for found in loaded if found in heavy] == []


def test_the_chat_model_is_imported_without_what_it_may_never_need() -> None:
    loaded = fresh(
        "import json, sys\nfrom langchain_core.language_models import BaseChatModel\nbefore = set(sys.modules)\n"
        "from chatdoctor_hub import ChatDoctor\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    heavy = {"torch", "transformers", "peft", "numpy", "httpx_sse", "huggingface_hub", "llguidance", "jinja2"}
    assert [name for name in loaded if name in heavy] == []


def test_every_module_needs_the_base_dependencies_only_and_changes_nothing() -> None:
    found = fresh(EVERY_MODULE, json.dumps(EXTRAS))
    assert found["faults"] == {}
    assert found["modules"] > len(ROOMS)


def test_the_check_itself() -> None:
    """What is blocked is missed by those that need it, and by no others."""
    found = fresh(EVERY_MODULE, json.dumps(["chatdoctor_hub.folders"]))
    assert "chatdoctor_hub.folders" in found["faults"]["chatdoctor_hub.corpus.folder"]
    assert "chatdoctor_hub.prompts" not in found["faults"]
