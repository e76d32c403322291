"""Probes during a run: asked under the serving form, judged by the rule, and nothing is changed by them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.models import load_model, load_tokenizer
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.safety import benign_requests, harmful_requests
from chatdoctor_hub.training import TrainingConfig, encode, fit
from chatdoctor_hub.training.recipe import ProbeConfig
from chatdoctor_hub.training.run.probes import Prober

torch = pytest.importorskip("torch")

PAIR = PromptPair.load("chatdoctor@1")
FEW = ProbeConfig(times=1, requests=4, max_tokens=8)


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(tiny_base)


@pytest.fixture
def tuned(tiny_base: Path) -> Callable[..., Any]:
    """The tiny base with room for an answer after the safety prompt, and a LoRA that does something."""

    def make(dtype: Any = torch.float32, dropout: float = 0.0) -> Any:
        from peft import LoraConfig, get_peft_model

        model = load_model(tiny_base, dtype)
        model.config.max_position_embeddings = 1024
        torch.manual_seed(3)
        settings = LoraConfig(r=4, target_modules="all-linear", lora_dropout=dropout)
        model = get_peft_model(model, settings)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn_like(parameter)
        return model.train()

    return make


def says(model: Any, tokenizer: Any, answers: Sequence[str]) -> list[int]:
    """Make `model` answer so, in turn; gives back a list that the widths of its batches go into."""
    left, widths = list(answers), []

    def generate(input_ids: Any, **_: Any) -> Any:
        widths.append(len(input_ids))
        said = [tokenizer(left.pop(0), add_special_tokens=False)["input_ids"] for _ in input_ids]
        longest = max(map(len, said))
        ends = [ids + [tokenizer.eos_token_id] * (longest - len(ids)) for ids in said]
        return torch.cat([input_ids, torch.tensor(ends, dtype=torch.long)], dim=1)

    model.generate = generate
    return widths


def test_the_shares_are_those_of_refusals_and_answers(tuned: Any, tokenizer: Any) -> None:
    model = tuned()
    no, yes = "I can't help with that.", "Rest and drink plenty of water."
    says(model, tokenizer, [no, no, no, yes, yes, yes, no, ""])
    assert Prober(model, tokenizer, PAIR, FEW)() == {
        "harmful_refused": 0.75,
        "harmless_answered": 0.5,
        "probe_n": 4,
    }


def test_no_more_is_asked_than_there_is(tuned: Any, tokenizer: Any) -> None:
    model = tuned()
    most = min(len(harmful_requests()), len(benign_requests()))
    widths = says(model, tokenizer, ["Sorry, no."] * 2 * most)
    found = Prober(model, tokenizer, PAIR, ProbeConfig(requests=1000))()
    assert found == {"harmful_refused": 1.0, "harmless_answered": 0.0, "probe_n": most}
    assert sum(widths) == 2 * most
    assert max(widths) <= 32


def test_every_category_is_asked_before_any_is_asked_twice(tuned: Any, tokenizer: Any) -> None:
    categories = {request.category for request in harmful_requests()}
    prober = Prober(tuned(), tokenizer, PAIR, ProbeConfig(requests=len(categories)))
    texts = [tokenizer.decode(prompt) for prompt in prober._prompts[: len(categories)]]
    asked = {
        request.category
        for request in harmful_requests()
        if any(tokenizer.decode(tokenizer(request.text)["input_ids"]) in text for text in texts)
    }
    assert asked == categories


def test_the_prompts_are_those_of_the_serving_form(tuned: Any, tokenizer: Any) -> None:
    prober = Prober(tuned(), tokenizer, PAIR, FEW)
    first = [{"role": "user", "content": harmful_requests()[0].text}]
    serving = PAIR.render_prompt(first, tokenizer, form="serving")
    assert prober._prompts[0] == tokenizer(serving, add_special_tokens=False)["input_ids"]
    assert PAIR.safety in serving


def greedy(model: Any, prompt: Sequence[int], ends: Sequence[int], room: int) -> list[int]:
    """One prompt alone, without padding, without a cache."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(room):
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] in ends:
                break
    return ids[len(prompt) :]


def test_answers_are_greedy_whatever_the_model_would_rather_do(tuned: Any, tokenizer: Any) -> None:
    model = tuned()
    prober = Prober(model, tokenizer, PAIR, FEW)
    model.generation_config.do_sample = True
    model.generation_config.temperature = 9.0
    model.generation_config.repetition_penalty = 3.0
    model.generation_config.num_beams = 2
    model.generation_config.max_length = 3
    with prober._at_rest():
        answers = prober._answers(prober._prompts)
    alone = [greedy(model.eval(), prompt, prober._ends, FEW.max_tokens) for prompt in prober._prompts]
    assert answers == tokenizer.batch_decode(alone, skip_special_tokens=True)


def test_the_adapter_answers(tuned: Any, tokenizer: Any) -> None:
    model = tuned()
    prober = Prober(model, tokenizer, PAIR, FEW)
    with prober._at_rest():
        tuned_answers = prober._answers(prober._prompts)
        with model.disable_adapter():
            assert prober._answers(prober._prompts) != tuned_answers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_call_changes_nothing(dtype: Any, tuned: Any, tokenizer: Any) -> None:
    model = tuned(dtype, dropout=0.3)
    next(iter(model.modules())).eval()  # modules in both modes
    model.base_model.train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    drawn = (torch.get_rng_state(), random.getstate(), tokenizer.padding_side, model.config.use_cache)
    attention, names = model.config._attn_implementation, set(vars(model))
    first = Prober(model, tokenizer, PAIR, FEW)()
    assert Prober(model, tokenizer, PAIR, FEW)() == first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert (random.getstate(), tokenizer.padding_side, model.config.use_cache) == drawn[1:]
    assert (model.config._attn_implementation, set(vars(model))) == (attention, names)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and bool((gradient == 1).all()) for gradient in gradients)


def test_a_model_that_fails_is_left_as_it_was(tuned: Any, tokenizer: Any) -> None:
    model = tuned()
    prober = Prober(model, tokenizer, PAIR, FEW)

    def fail(**_: Any) -> None:
        raise RuntimeError("out of memory")

    model.generate = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        prober()
    assert model.training
    assert model.generate is fail


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_run_with_probes_has_the_weights_of_one_without(
    dropout: float, tuned: Any, tokenizer: Any, dialogues: list[Dialogue]
) -> None:
    samples = encode(dialogues, PAIR, tokenizer, 256).samples
    settings = TrainingConfig(epochs=1.0, batch_size=8, workers=1, precision="float32", lr=1e-2)
    weights, losses = [], []
    for probed in (False, True):
        model, found = tuned(dropout=dropout), []
        prober = Prober(model, tokenizer, PAIR, FEW)
        torch.manual_seed(0)

        def step(
            record: dict[str, float], prober: Any = prober, probed: bool = probed, found: Any = found
        ) -> None:
            found.append(record["loss"])
            if probed and record["step"] % 2:
                assert prober()["probe_n"] == 4

        fit(model, samples, settings, on_step=step)
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        losses.append(found)
    assert losses[0] == losses[1]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_probes_of_a_tiny_model_take_seconds(tuned: Any, tokenizer: Any) -> None:
    prober = Prober(tuned(), tokenizer, PAIR, ProbeConfig())
    prober()
    started = time.monotonic()
    prober()
    assert time.monotonic() - started < 10


def test_a_base_without_room_for_an_answer_is_refused(tuned: Any, tokenizer: Any) -> None:
    model = tuned()
    model.config.max_position_embeddings = 32
    with pytest.raises(ContextLengthError, match=r"found a context of 32 tokens; set probes\.times to 0"):
        Prober(model, tokenizer, PAIR, FEW)


def test_answers_stop_where_the_context_ends(tuned: Any, tokenizer: Any) -> None:
    model = tuned()
    longest = max(map(len, Prober(model, tokenizer, PAIR, FEW)._prompts))
    model.config.max_position_embeddings = longest + 3
    prober = Prober(model, tokenizer, PAIR, FEW)
    assert prober._room == 3
    prober()


SHARDED = """
import json, sys
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from chatdoctor_hub.models import load_model, load_tokenizer
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.launched import join
from chatdoctor_hub.training.recipe import ProbeConfig
from chatdoctor_hub.training.run.probes import Prober

def answers(prober):
    with prober._at_rest():
        return prober._answers(prober._prompts)

torch.set_num_threads(1)
is_first = join()
model, tokenizer = load_model(sys.argv[1], torch.bfloat16), load_tokenizer(sys.argv[1])
model.config.max_position_embeddings = 1024
torch.manual_seed(3)
model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
prober = Prober(model, tokenizer, PromptPair.load("chatdoctor@1"), ProbeConfig(requests=3, max_tokens=8))
alone = answers(prober)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
sharded, _ = Accelerator().prepare(model.train(), optimizer)
before = answers(prober)  # before the first step
ids = torch.arange(9).view(1, 9)
losses = []
for _ in range(2):
    loss = sharded(input_ids=ids, labels=ids).loss
    loss.backward()
    losses.append(float(loss))
    prober()
kind = type(next(sharded.parameters()).data).__name__
if is_first:
    print("RESULT" + json.dumps([type(sharded).__name__, kind, alone == before, any(alone), losses[0] == losses[1]]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "held"), [("ddp", "Tensor"), ("fsdp2", "DTensor")])
def test_probes_of_a_model_that_processes_share(
    strategy: Any, held: str, tiny_base: Path, tmp_path: Path
) -> None:
    import yaml

    launching = pytest.importorskip("chatdoctor_hub.training.launch")
    (tmp_path / "script.py").write_text(SHARDED)
    (tmp_path / "accelerate.yaml").write_text(yaml.safe_dump(launching.accelerate_config(strategy, 2)))
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        tmp_path / "accelerate.yaml",
    ]
    ended = subprocess.run(
        [*map(str, command), str(tmp_path / "script.py"), str(tiny_base)],
        env=launching._environment(2),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    result = next(line for line in ended.stdout.splitlines() if line.startswith("RESULT"))
    assert json.loads(result.removeprefix("RESULT"))[1:] == [held, True, True, True]
