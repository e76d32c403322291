"""LoRA r 16 on every linear layer of a randomly initialised Llama of 8B shape, on a GPU.

Real tokens a second; 4N utilization: 4 FLOP for each weight of a linear layer and token, against the measured
bfloat16 product; executed utilization: all FLOP that torch counts in the passes. Adapter gradients are asserted to
be other than zero. Each loop runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdoctor_hub.training.data import Encoded
from train_loops import trainers
from train_loops.clock import Clock
from train_loops.ours import settings

EIGHT_B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
RANK, STEP, STEPS, SHORTEST, LONGEST = 16, 128, 8, 100, 400
LOOPS = ("ours", "ours-portable", "TRL with Liger", "Trainer, grouped by length")


@dataclass(frozen=True)
class GpuTask:
    """What `trainers` want of a task: random dialogues of 100 to 400 tokens, 45 % of them learned."""

    shape: dict[str, int]
    device: str = "cuda"

    @property
    def training(self) -> list[Encoded]:
        numbers = random.Random(0)
        found = []
        for _ in range(STEP * STEPS):
            length = numbers.randint(SHORTEST, LONGEST)
            ids = tuple(numbers.randrange(3, self.shape["vocab_size"]) for _ in range(length))
            found.append(Encoded(ids, tuple(at >= 0.55 * length for at in range(length))))
        return found

    def tokenizer(self) -> Any:
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
        return PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")),
            pad_token="<pad>",
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
        )

    def lora(self) -> Any:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device(self.device):
                model = LlamaForCausalLM(LlamaConfig(**self.shape))
        finally:
            torch.set_default_dtype(before)
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        return get_peft_model(model, config)


def ours(task: GpuTask, **changes: Any) -> dict[str, Any]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from chatdoctor_hub.training.passes import Passes

    model, samples = task.lora(), task.training
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    clock, tokens = Clock(), 0
    extremes = [max(samples, key=len), min(samples, key=len)]
    with Passes(model, settings(batch_size=STEP, **changes), extremes) as passes:
        for number in range(STEPS):
            step = samples[number * STEP : (number + 1) * STEP]
            passes.gradients(step)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            if number == 1:
                _assert_gradients(model)
            optimizer.step()
            optimizer.zero_grad()
            _wait(task.device)
            tokens += sum(map(len, step))
            clock.step(tokens)
        # In this thread: torch counts nothing of what other threads do.
        shares, idle = passes._shares(samples[:STEP])
        with FlopCounterMode(display=False) as counter:
            passes._crew[0].gradients(shares[0], 1.0, idle)
        note = f"fused: {passes.fused} {passes.why}".strip()
    executed = counter.get_total_flops() / sum(map(len, samples[:STEP]))
    return {**clock.result(), "executed": executed, "note": note}


def peer(task: GpuTask, name: str) -> dict[str, Any]:
    if name.startswith("TRL"):
        model, found = trainers.trl(
            task,
            packing=True,
            packing_strategy="bfd",
            max_length=4096,
            bf16=True,
            gradient_checkpointing=False,
            use_liger_kernel=True,
            per_device=2,
            accumulate=round(STEP * (SHORTEST + LONGEST) / 2 / 8192),
        )
    else:
        model, found = trainers.plain_trainer(
            task, task.lora(), per_device=16, bf16=True, sampling="group_by_length", step=STEP
        )
    _assert_trained(model)
    return found


def _assert_gradients(model: Any) -> None:
    """In the second step, when neither matrix of a LoRA is zero any more."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not (
            parameter.grad is not None and float(parameter.grad.abs().max()) > 0
        ):
            raise SystemExit(f"the gradient of {name} is zero: the figures would mean nothing")


def _assert_trained(model: Any) -> None:
    """U starts at zero: what is still zero had no gradient."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name and float(parameter.detach().abs().max()) == 0:
            raise SystemExit(f"{name} has not changed: its gradient was zero")


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def product() -> float:
    """FLOP a second of a plain bfloat16 product, (8192, 8192) x (8192, 8192), median of 20."""
    import torch

    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    times = []
    for _ in range(25):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * 8192**3 / statistics.median(times[5:])


def weights_of(shape: dict[str, int]) -> int:
    """N: weights of the linear layers, the head among them."""
    hidden, keys = shape["hidden_size"], shape["num_key_value_heads"]
    size = hidden // shape["num_attention_heads"]
    block = 2 * hidden * hidden + 2 * hidden * keys * size + 3 * hidden * shape["intermediate_size"]
    return shape["num_hidden_layers"] * block + hidden * shape["vocab_size"]


def run_one(name: str) -> None:
    task = GpuTask(EIGHT_B)
    changes = {"speed": "portable"} if name == "ours-portable" else {}
    found = ours(task, **changes) if name.startswith("ours") else peer(task, name)
    print(json.dumps(found))


def measured() -> list[dict[str, Any]]:
    """One row a loop, `ratios` those of ours to it; then both utilizations of ours."""
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(
            "This needs an NVIDIA GPU with about 80 GB; there is none here, so nothing was measured."
        )
    most = product()
    found = {name: _apart(name) for name in LOOPS}
    rows = [
        {
            "name": name,
            "value": round(figures.get("value", 0.0), 1),
            "unit": "real tokens/s",
            "ratios": [round(found["ours"]["value"] / figures["value"], 2)] if figures.get("value") else [],
            "note": figures.get("note", ""),
        }
        for name, figures in found.items()
    ]
    pace, executed = found["ours"]["value"], found["ours"]["executed"]
    rows.append({"name": "bfloat16 product", "value": round(most / 1e12, 1), "unit": "TFLOP/s", "ratios": []})
    for name, flop in (("4N utilization", 4 * weights_of(EIGHT_B)), ("executed utilization", executed)):
        rows.append({"name": name, "value": round(100 * pace * flop / most, 1), "unit": "%", "ratios": []})
    return rows


def _apart(name: str) -> dict[str, Any]:
    code = "import sys; from train_loops.gpu import run_one; run_one(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if done.returncode:
        if name.startswith("ours"):
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        return {"note": f"did not run: {done.stderr.strip().splitlines()[-1][:200]}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
