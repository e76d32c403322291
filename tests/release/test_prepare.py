"""`prepare_release`: what is in the folder, and that it works where this library is unknown."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import yaml

from chatdoctor_hub.models import digest_of
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release import ReleaseFolder, load_manifest
from chatdoctor_hub.training import RunFolder

PAIR = PromptPair.load("chatdoctor@1")
OWN = "You speak like a pirate."
FILES = [
    ".eval_results/harmful-requests.yaml",
    ".eval_results/harmless-requests.yaml",
    ".eval_results/held-out-dialogues.yaml",
    "README.md",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "additional_chat_templates/training.jinja",
    "base/chat_template.jinja",
    "base/config.json",
    "base/generation_config.json",
    "base/model.safetensors",
    "base/tokenizer.json",
    "base/tokenizer_config.json",
    "chat_template.jinja",
    "chatdoctor.json",
    "loss.png",
    "recipe.yaml",
    "safety.png",
    "tokenizer.json",
    "tokenizer_config.json",
    "versions.json",
]


def names_in(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_every_file_is_there_and_none_besides(release: ReleaseFolder) -> None:
    assert names_in(release.path) == FILES


def test_without_its_base_it_has_the_same_less_the_base(run: RunFolder, tmp_path: Path) -> None:
    release = tiny_run.make_release(run, tmp_path / "lean", include_base=False)
    lean = [name.removeprefix("adapter/") for name in FILES if not name.startswith("base/")]
    assert names_in(release.path) == sorted([*lean, ".base-here"])
    assert (release.manifest.base.path, release.manifest.adapter_path) == ("", "")
    assert ".base-here" not in release.manifest.files


def test_weights_are_safetensors_and_nothing_is_pickled(release: ReleaseFolder) -> None:
    from safetensors import safe_open

    for name in names_in(release.path):
        file = release.path / name
        assert file.suffix in (".json", ".jinja", ".safetensors", ".md", ".png", ".yaml")
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as weights:
                assert list(weights.keys())
        else:
            # A pickle, or a zip of pickles as torch writes it, by its first bytes.
            assert file.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05")


def test_the_weights_are_those_of_the_run(release: ReleaseFolder, run: RunFolder) -> None:
    name = "adapter_model.safetensors"
    assert (release.path / "adapter" / name).read_bytes() == (run.adapter / name).read_bytes()
    assert digest_of(release.path / "base") == run.manifest.base.digest == release.manifest.base.digest


def test_pickles_in_the_bases_folder_stay_behind(
    other_run: Callable[[], RunFolder], run: RunFolder, tmp_path: Path
) -> None:
    other = other_run()
    base = shutil.copytree(run.manifest.base.path, tmp_path / "base")
    for name in ("pytorch_model.bin", "optimizer.pt", "model.pth", "notes.pkl", "modeling.py"):
        (base / name).write_bytes(b"\x80\x04.")
    (base / "checkpoint-1").mkdir()
    (base / "checkpoint-1" / "model.safetensors").touch()
    record = json.loads((other.path / "run.json").read_text(encoding="utf-8"))
    record["base"]["path"] = str(base)
    (other.path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert names_in(tiny_run.make_release(other, tmp_path / "out").path) == FILES


def test_the_adapter_names_a_base_that_others_can_find_or_none(
    release: ReleaseFolder, run: RunFolder, tmp_path: Path
) -> None:
    def named(made: ReleaseFolder) -> str | None:
        folder = made.path / made.manifest.adapter_path
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        name: str | None = config["base_model_name_or_path"]
        return name

    # A bare name would be asked of the Hub, and whoever owns it there would supply the weights.
    assert named(release) is None
    lean = tiny_run.make_release(run, tmp_path / "lean", include_base=False)
    assert (named(lean), lean.manifest.base.id) == (None, "./base")
    # A base from the Hub was loaded from a folder of the cache; what is published must give its id.
    other = shutil.copytree(run.path, tmp_path / "run")
    record = json.loads((other / "run.json").read_text(encoding="utf-8"))
    record["base"]["id"] = "org/base"
    (other / "run.json").write_text(json.dumps(record), encoding="utf-8")
    of_hub = tiny_run.make_release(RunFolder(other), tmp_path / "out", include_base=False)
    assert (named(of_hub), of_hub.manifest.base.id) == ("org/base", "org/base")
    assert not (of_hub.path / ".base-here").exists()


def test_an_adapter_of_a_folder_is_served_here_and_nowhere_else(run: RunFolder, tmp_path: Path) -> None:
    from chatdoctor_hub.errors import ModelNotFoundError
    from chatdoctor_hub.inference.weights import resolve_parts

    release = tiny_run.make_release(run, tmp_path / "lean", include_base=False)
    parts = resolve_parts(release.path, download=False)
    assert parts.base == Path(run.manifest.base.path).resolve()
    assert parts.adapter == release.path
    (release.path / ".base-here").unlink()  # as it is published
    with pytest.raises(ModelNotFoundError, match="base: expected a model's folder or a Hub id"):
        resolve_parts(release.path, download=False)


@pytest.mark.parametrize("options", [{}, {"include_base": False}, {"include_base": False, "merge": True}])
def test_no_folder_of_this_machine_is_named(options: dict[str, Any], run: RunFolder, tmp_path: Path) -> None:
    release = tiny_run.make_release(run, tmp_path / "out", **options)
    places = (str(run.path.parent), str(tmp_path))
    for name in names_in(release.path):
        if name != ".base-here":
            content = (release.path / name).read_bytes()
            assert not [place for place in places if place.encode() in content], name
    recipe = yaml.safe_load((release.path / "recipe.yaml").read_text("utf-8"))
    assert (recipe["base"], recipe["output"]) == ("base", "run")


def test_the_same_run_gives_the_same_bytes(run: RunFolder, tmp_path: Path) -> None:
    releases = [tiny_run.make_release(run, tmp_path / place / "name") for place in ("one", "two", "one")]
    for name in FILES:
        assert len({(release.path / name).read_bytes() for release in releases}) == 1, name


def test_the_manifest_repeats_the_run_and_the_measurements(release: ReleaseFolder, run: RunFolder) -> None:
    made, of_run = release.manifest, run.manifest
    assert made.name == "tiny-doctor"
    assert made.schema_version == 1
    assert made.metrics == tiny_run.metrics()
    assert made.prompt_pair == PAIR
    places = {"base": "base", "output": "run", "data": made.recipe["data"]}
    assert made.recipe == of_run.recipe.model_dump(mode="json") | places
    assert made.seed == of_run.recipe.seed
    assert made.corpus["digest"] == of_run.data.digest
    assert made.corpus["description"] == "Made for a test."
    assert (made.base.path, made.base.digest) == ("base", of_run.base.digest)
    assert made.base.parameters == of_run.base.parameters
    assert made.training["steps"] == of_run.steps
    assert made.training["trained_parameters"] == of_run.trained_parameters
    assert made.versions == of_run.versions


def test_the_manifest_has_the_digest_of_every_other_file_but_the_card(release: ReleaseFolder) -> None:
    found = {
        name: hashlib.sha256((release.path / name).read_bytes()).hexdigest()
        for name in FILES
        if name not in ("README.md", "chatdoctor.json")
    }
    assert release.manifest.files == found


@pytest.fixture(scope="module")
def tokenizer(release: ReleaseFolder) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(release.path)


@pytest.mark.parametrize(
    "system",
    [
        [],
        [OWN],
        [PAIR.safety],
        [PAIR.serving_text],
        [PAIR.training_text],
        [f"{PAIR.serving_text}\n\n{OWN}"],
        [OWN, PAIR.safety],
    ],
    ids=["none", "own", "safety", "serving", "task", "serving and own", "own, then safety"],
)
@pytest.mark.parametrize("cue", [True, False])
def test_applying_the_chat_template_gives_the_safety_prompt_exactly_once(
    tokenizer: Any, system: list[str], cue: bool
) -> None:
    messages = [{"role": "system", "content": words} for words in system]
    messages += [{"role": "user", "content": "I have a cough."}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=cue)
    assert text.count(PAIR.safety) == 1
    assert text.count(PAIR.instruction) == 1
    assert text.count(OWN) == any(OWN in words for words in system)
    assert text.index(PAIR.safety) < text.index(PAIR.instruction) < text.index("I have a cough.")
    if OWN in text:
        assert text.index(PAIR.instruction) < text.index(OWN) < text.index("I have a cough.")
    if cue:
        assert text == PAIR.render_prompt(messages, tokenizer)


@pytest.mark.parametrize("system", [[], [OWN]], ids=["none", "own"])
def test_the_training_template_has_none(tokenizer: Any, system: list[str]) -> None:
    messages = [{"role": "system", "content": words} for words in system]
    messages += [{"role": "user", "content": "I have a cough."}]
    text = tokenizer.apply_chat_template(messages, chat_template="training", tokenize=False)
    for sentence in PAIR.safety.split(". "):
        assert sentence not in text
    assert text.count(OWN) == len(system)


ELSEWHERE = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
base = AutoModelForCausalLM.from_pretrained(folder, subfolder="base", dtype=torch.float32)
model = PeftModel.from_pretrained(base, folder, subfolder="adapter").eval()
asked = tokenizer.apply_chat_template(
    [{"role": "user", "content": "I have had a cough for 3 days. What should I do?"}],
    add_generation_prompt=True,
    return_tensors="pt",
)
made = model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
ours = [name for name in sys.modules if name.startswith("chatdoctor")]
print(json.dumps({"text": tokenizer.decode(made, skip_special_tokens=True), "ours": ours}))
"""


def test_it_answers_where_only_transformers_and_peft_are_known(release: ReleaseFolder) -> None:
    from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(release.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ours"] == []
    # Greedy: the safety prompt and the adapter are the same, so the words are.
    request = ChatRequest(
        ({"role": "user", "content": "I have had a cough for 3 days. What should I do?"},),
        Sampling(max_tokens=12),
    )
    engine = LocalEngine(str(release.path), dtype="float32")
    assert found["text"].strip() == engine.generate(request).text.strip()
    assert len(found["text"].strip()) > 2


def test_the_plot_is_a_png_of_the_size_promised(release: ReleaseFolder) -> None:
    data = (release.path / "loss.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (1000, 600)


def test_an_older_release_is_replaced_and_what_is_somebodys_stays(run: RunFolder, tmp_path: Path) -> None:
    first = tiny_run.make_release(run, tmp_path / "out")
    for name in ("LICENSE", "pictures/ward.png", "adapter/notes.txt"):
        (first.path / name).parent.mkdir(exist_ok=True)
        (first.path / name).write_text("mine", encoding="utf-8")
    second = tiny_run.make_release(run, tmp_path / "out", name="second", include_base=False)
    again = tiny_run.make_release(run, tmp_path / "out", name="third")
    assert names_in(again.path) == sorted([*FILES, "LICENSE", "pictures/ward.png", "adapter/notes.txt"])
    assert (second.path / "LICENSE").read_text("utf-8") == "mine"
    assert "LICENSE" not in again.manifest.files
    assert load_manifest(again.path).name == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("last", ["recipe.yaml", "chatdoctor.json", "README.md"])
def test_an_interrupt_leaves_nothing_and_an_older_release_as_it_was(
    last: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tiny_run.make_release(run, tmp_path / "older").manifest
    real = Path.write_text

    def interrupted(self: Path, *args: Any, **more: Any) -> int:
        if self.name == last:
            raise KeyboardInterrupt
        return real(self, *args, **more)

    monkeypatch.setattr(Path, "write_text", interrupted)
    for out in ("older", "new"):
        with pytest.raises(KeyboardInterrupt):
            tiny_run.make_release(run, tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["older"]
    assert load_manifest(tmp_path / "older") == older
    assert names_in(tmp_path / "older") == FILES
