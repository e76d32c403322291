"""`fine_tune` on a tiny base: what it leaves behind, that it is pure, and what bad input gets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.corpus import Corpus, split
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import (
    ConfigError,
    DataFormatError,
    DataNotFoundError,
    PurityError,
    TrainingError,
)
from chatdoctor_hub.models import digest_of, load_model, load_tokenizer
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training import RecipeConfig, RunFolder, TrainingConfig, encode, fine_tune, tuning
from chatdoctor_hub.training.data import encode_data

PAIR = PromptPair.load("chatdoctor@1")
Recipe = Callable[..., RecipeConfig]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, dialogues: list[Dialogue]) -> Corpus:
    folder = tmp_path_factory.mktemp("corpora") / "corpus"
    return Corpus.write(folder, split(dialogues, seed=0), seed=0, sources=["tests"], repairs={}, problems=())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, corpus: Corpus) -> RunFolder:
    training = TrainingConfig(epochs=4.0, batch_size=8, workers=1, precision="float32", lr=1e-2)
    config = RecipeConfig(
        base=tiny_base, data=corpus.path, output=tmp_path_factory.mktemp("runs") / "run", training=training
    )
    return fine_tune(config)


def files_of(folder: Path) -> dict[str, str]:
    """Every file and its content's digest; hidden ones too."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_the_run_folder_holds_what_is_needed_and_nothing_else(run: RunFolder) -> None:
    assert sorted(files_of(run.path)) == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "metrics.jsonl",
        "recipe.yaml",
        "run.json",
        "tokenizer/chat_template.jinja",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "training.png",
    ]
    assert [path.name for path in run.path.parent.iterdir() if path.is_dir()] == ["run"]


def test_the_manifest_says_what_was_done(run: RunFolder, tiny_base: Path, corpus: Corpus) -> None:
    import torch

    made = RunFolder.open(run.path).manifest
    model = load_model(tiny_base, torch.float32)
    assert made.recipe == RecipeConfig.load(run.path / "recipe.yaml")
    assert (made.base.id, made.base.path) == (str(tiny_base), str(tiny_base))
    assert made.base.digest == digest_of(tiny_base)
    assert made.base.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert made.base.model_type == "llama"
    prepared = encode_data(made.recipe, PAIR, load_tokenizer(tiny_base))
    assert (made.data.source, made.data.digest) == (str(corpus.path), prepared.report.digest)
    assert (made.data.training, made.data.validation) == (len(corpus.train), len(corpus.validation))
    assert (made.data.shortened, made.data.skipped) == (0, {})
    assert PromptPair.from_record(made.prompt) == PAIR
    assert made.steps == round(len(corpus.train) * 4 / 8) == len(run.metrics)
    assert made.tokens == run.metrics[-1]["tokens"] > 0
    assert (made.precision, made.workers, made.device) == ("float32", 1, "cpu")
    assert made.versions["torch"] == torch.__version__
    assert {"python", "chatdoctor-hub", "transformers", "peft"} <= made.versions.keys()


def test_the_counts_are_those_of_the_data_and_the_adapter(
    run: RunFolder, tiny_base: Path, corpus: Corpus
) -> None:
    from safetensors.torch import load_file

    weights = load_file(run.adapter / "adapter_model.safetensors")
    assert run.manifest.trained_parameters == sum(weight.numel() for weight in weights.values())
    assert len(weights) == 2 * 7  # A and B of the seven linear layers of one block, none of the head
    encoding = encode(corpus.train, PAIR, load_tokenizer(tiny_base), 512)
    assert run.manifest.data.labelled_tokens == encoding.labelled_tokens


def test_the_losses_fall_and_are_measured_on_held_out_dialogues_at_times(run: RunFolder) -> None:
    assert all(record.keys() >= {"step", "tokens", "loss", "lr"} for record in run.metrics)
    validated = [record for record in run.metrics if "validation_loss" in record]
    assert len(validated) == 4
    assert validated[-1]["step"] == run.manifest.steps
    assert validated[-1]["validation_loss"] < validated[0]["validation_loss"]
    assert run.metrics[-1]["loss"] < run.metrics[0]["loss"]


def test_the_adapter_works_in_peft_alone(run: RunFolder, tiny_base: Path) -> None:
    """Loaded without this library, it has the validation loss that the run reports."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(run.tokenizer)
    held_out = encode(
        Corpus.open(run.manifest.data.source).validation, PAIR, load_tokenizer(run.tokenizer), 512
    )
    before = _loss(base, held_out.samples)
    tuned = PeftModel.from_pretrained(base, str(run.adapter)).eval()
    after = _loss(tuned, held_out.samples)
    assert after < before
    assert after == pytest.approx(run.metrics[-1]["validation_loss"], rel=1e-4)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "My knee hurts."}], add_generation_prompt=True, return_tensors="pt"
    )
    assert tuned.generate(**ids, max_new_tokens=5, do_sample=False).shape[1] > ids["input_ids"].shape[1]


def _loss(model: Any, samples: Sequence[Any]) -> float:
    """By transformers' own loss, one dialogue at a time."""
    import torch

    total, count = 0.0, 0
    for sample in samples:
        labels = [token if sample.labelled[at] else -100 for at, token in enumerate(sample.ids)]
        learned = sum(label != -100 for label in labels[1:])
        with torch.no_grad():
            output = model(input_ids=torch.tensor([sample.ids]), labels=torch.tensor([labels]))
        total, count = total + output.loss.item() * learned, count + learned
    return total / count


def test_the_base_on_disk_is_not_touched(run: RunFolder, tiny_base: Path) -> None:
    assert digest_of(tiny_base) == run.manifest.base.digest


def test_the_tokenizers_template_is_the_training_form_without_a_safety_prompt(run: RunFolder) -> None:
    template = (run.tokenizer / "chat_template.jinja").read_text(encoding="utf-8")
    tokenizer = load_tokenizer(run.tokenizer)
    assert template == PAIR.training_template(tokenizer)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Fever"}], tokenize=False)
    for piece in _pieces(PAIR.safety):
        assert piece not in template
        assert piece not in text


def _pieces(text: str) -> list[str]:
    """A text's sentences: none of them may stand anywhere, not only all together."""
    return [sentence.strip() for sentence in text.split(".") if len(sentence.strip()) > 20]


def _poisoned(dialogues: Sequence[Dialogue], file: Path) -> Path:
    """The dialogues, a third with the safety prompt and a third with the whole serving form as system turn."""
    with_system = [
        dataclasses.replace(
            dialogue,
            turns=(
                Turn("system", (PAIR.safety, PAIR.serving_text, "Be brief.")[number % 3]),
                *dialogue.turns,
            ),
        )
        for number, dialogue in enumerate(dialogues)
    ]
    lines = (json.dumps({"messages": dialogue.to_messages()}) + "\n" for dialogue in with_system)
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_data_with_a_safety_prompt_are_refused_by_the_numbers_of_their_records(
    recipe: Recipe, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    file = _poisoned(dialogues, tmp_path / "poisoned.jsonl")
    with pytest.raises(PurityError, match=r"1, 2, 4, 5") as caught:
        fine_tune(recipe(data=file))
    assert "allow_safety_in_training" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["poisoned.jsonl"]


def test_a_recipe_may_allow_them_and_the_manifest_says_so(
    recipe: Recipe, dialogues: list[Dialogue], tmp_path: Path
) -> None:
    """The pair's own safety prompt is never rendered in the training form, even then."""
    file = _poisoned(dialogues, tmp_path / "poisoned.jsonl")
    seen: list[Any] = []
    made = fine_tune(
        recipe(data=file, allow_safety_in_training=True, training={"epochs": 0.2}), on_step=seen.append
    )
    assert not made.manifest.pure
    assert sum(made.manifest.data.safety.values()) == 32
    assert made.manifest.recipe.allow_safety_in_training


def test_the_same_recipe_gives_the_same_adapter(recipe: Recipe, tmp_path: Path) -> None:
    made = []
    for seed in (3, 3, 4):
        made.append(fine_tune(recipe(output=tmp_path / str(len(made)), seed=seed)))
    digests = [digest_of(folder.adapter) for folder in made]
    assert digests[0] == digests[1] != digests[2]
    assert made[0].metrics == made[1].metrics


def test_only_the_modules_asked_for_are_adapted(recipe: Recipe) -> None:
    from safetensors import safe_open

    run = fine_tune(recipe(adapter={"targets": ["q_proj"], "r": 2, "alpha": 4}))
    with safe_open(run.adapter / "adapter_model.safetensors", "pt") as weights:
        assert all("q_proj" in name for name in weights.keys())  # noqa: SIM118 - no mapping
        assert len(list(weights.keys())) == 2
    config = json.loads((run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (2, 4, 0.0)


def test_each_step_is_told_as_it_is_written_down(recipe: Recipe) -> None:
    told: list[dict[str, float]] = []
    run = fine_tune(recipe(), on_step=told.append)
    assert tuple(told) == run.metrics


def test_an_older_run_is_replaced(recipe: Recipe, tmp_path: Path) -> None:
    first = fine_tune(recipe(seed=1))
    (first.path / "note.txt").write_text("mine", encoding="utf-8")
    second = fine_tune(recipe(seed=2))
    assert second.path == first.path
    assert RunFolder.open(first.path).manifest.recipe.seed == 2
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("older", [False, True], ids=["new", "over-an-older-run"])
def test_what_is_interrupted_before_a_checkpoint_leaves_nothing_and_an_older_run_as_it_was(
    fault: type[BaseException], older: bool, recipe: Recipe, tmp_path: Path
) -> None:
    if older:
        fine_tune(recipe(training={"epochs": 0.2}))
    before = files_of(tmp_path)

    def stop(step: dict[str, float]) -> None:
        if step["step"] == 2:
            raise fault

    with pytest.raises(fault):
        fine_tune(recipe(seed=9, training={"checkpoints": 0}), on_step=stop)
    assert files_of(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == (["run"] if older else [])


def test_what_is_interrupted_goes_on_where_it_was_and_ends_with_the_same_weights(
    recipe: Recipe, tmp_path: Path
) -> None:
    whole = fine_tune(recipe(output=tmp_path / "whole", training={"epochs": 3.0}))

    def stop(step: dict[str, float]) -> None:
        if step["step"] == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(recipe(training={"epochs": 3.0}), on_step=stop)
    assert [path.name for path in tmp_path.iterdir() if path.name != "whole"] == [".run.run"]
    resumed = fine_tune(recipe(training={"epochs": 3.0}))
    assert resumed.manifest.resumed_at
    assert digest_of(resumed.adapter) == digest_of(whole.adapter)
    assert resumed.metrics == whole.metrics
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "whole"]


def test_an_unfinished_run_of_another_recipe_is_neither_taken_nor_thrown_away(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(step: dict[str, float]) -> None:
        if step["step"] == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(recipe(training={"epochs": 3.0}), on_step=stop)
    with monkeypatch.context() as unloaded:
        unloaded.setattr(tuning, "load_tunable", lambda *_: pytest.fail("weights were loaded"))
        for other in ({"seed": 5}, {"training": {"epochs": 3.0, "checkpoints": 0}}):
            with pytest.raises(ConfigError, match="checkpoints of this recipe, found those of another one"):
                fine_tune(recipe(**other))
    assert (tmp_path / ".run.run").is_dir()
    assert fine_tune(recipe(seed=5), fresh=True).manifest.recipe.seed == 5
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_interrupt_while_writing_leaves_nothing_but_what_was_tuned(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_text

    def interrupted(self: Path, *args: Any, **more: Any) -> int:
        if self.name == "recipe.yaml":
            raise KeyboardInterrupt
        return real(self, *args, **more)

    with monkeypatch.context() as faulty:
        faulty.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(recipe(training={"epochs": 0.2}))
    assert [path.name for path in tmp_path.iterdir()] == [".run.run"]
    steps: list[Any] = []
    assert fine_tune(recipe(training={"epochs": 0.2}), on_step=steps.append).manifest.resumed_at == 1
    assert steps == []
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_loss_that_is_no_number_leaves_nothing(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lower training\.lr"):
        fine_tune(recipe(training={"lr": 1e30, "max_grad_norm": 1e30, "epochs": 3.0}))
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_is_none_is_told_so(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"run\.json: expected the manifest"):
        RunFolder.open(tmp_path)
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / "metrics.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"metrics\.jsonl"):
        _ = RunFolder.open(copy).metrics
    (copy / "metrics.jsonl").unlink()
    with pytest.raises(DataNotFoundError, match=r"metrics\.jsonl"):
        _ = RunFolder.open(copy).metrics
    (copy / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"run\.json"):
        RunFolder.open(copy)
