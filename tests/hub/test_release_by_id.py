"""Releases with their base inside, loaded by their id on the Hub where this library is unknown, as the card says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stand_in_hub import StandInHub

from chatdoctor_hub.hub import publish
from chatdoctor_hub.release import load_manifest

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "chatdoctor_hub":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
"""
ASKED = """
import json, torch
asked = [{"role": "user", "content": "I have had a cough for 3 days. What should I do?"}]
text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
with torch.no_grad():
    logits = model.eval().float()(**ids).logits[0, -1].tolist()
print(json.dumps({"text": text, "logits": logits}))
"""


def ran(hub: StandInHub, token: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = hub.environment(token) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def of_the_card(card: str) -> str:
    """The code for people without this library, with the id of the repository in it."""
    code = card.split("Without this library")[1].split("```python\n")[1].split("```")[0]
    return re.sub(r'^this = ".*"$', 'this = "me/tiny"', code, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def merged(made_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_run

    folder = tmp_path_factory.mktemp("merged") / "tiny-doctor"
    return tiny_run.make_release(made_run, folder, include_base=False, merge=True).path


def test_base_and_adapter_as_the_card_says_and_the_same_as_merged(
    hub: StandInHub, release: Path, merged: Path
) -> None:
    token, found = hub.token("me"), []
    for folder in (release, merged):
        publish(folder, "me/tiny", endpoint=hub.url, token=token, ask=False)
        code = of_the_card((folder / "README.md").read_text("utf-8"))
        done = ran(hub, token, BLOCKED + code + ASKED)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert load_manifest(release).prompt_pair.safety in found[0]["text"]
    assert found[0]["text"] == found[1]["text"]
    first, second = (one["logits"] for one in found)
    assert max(abs(a - b) for a, b in zip(first, second, strict=True)) < 1e-3


def test_no_other_repository_is_asked_for_the_base(hub: StandInHub, release: Path) -> None:
    """A release with its base inside is no model at its root, and says so instead of taking a stranger's weights."""
    token = hub.token("me")
    publish(release, "me/tiny", endpoint=hub.url, token=token, ask=False)
    before = len(hub.requests)
    done = ran(
        hub,
        token,
        'from transformers import AutoModelForCausalLM\nAutoModelForCausalLM.from_pretrained("me/tiny")\n',
    )
    assert done.returncode != 0
    asked = [path for _, path, _ in hub.requests[before:]]
    assert asked
    assert not [path for path in asked if "/base/resolve" in path or "models/base" in path]
