"""`save_trained`: what was trained, as safetensors that PEFT or transformers load without this library."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.models import locate, without_bars
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.weights.pissa import PissaStart, on_the_original_base
from chatdoctor_hub.training.weights.stored import StoredWeights

__all__ = ["save_serving_tokenizer", "save_trained", "stored_dtype", "write_model"]


def save_trained(model: Any, config: RecipeConfig, out: Path) -> None:
    """Write `adapter/` or, of full tuning, `model/` into a folder.

    Under several processes every one of them calls, since sharded weights are gathered; the first writes.
    A PiSSA adapter is written as a LoRA of twice its rank, which works on the base as it was.

    Args:
        model: that of `load_tunable`, perhaps wrapped by DDP or FSDP2.
        config: its recipe.
        out: the folder; it exists.
    """
    model = getattr(model, "module", model)
    if config.adapter.kind == "full":
        state = _whole_state(model, frozen=True)
        if _is_first():
            write_model(model, state, out / "model", stored_dtype(locate(config.base)))
        return
    state = _whole_state(model, frozen=False)
    if _is_first():
        _write_adapter(model, state, out / "adapter", config)


@without_bars()
def write_model(model: Any, state: dict[str, Any], out: Path, dtype: Any) -> None:
    """Write a whole model in a dtype as `AutoModelForCausalLM` loads it; `state` holds its weights."""
    once = {name for name, _ in model.named_parameters()}
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - once
    weights = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in state.items()
        if name not in tied
    }
    model.save_pretrained(out, state_dict=weights)
    file = out / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = str(dtype).removeprefix("torch.")
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_serving_tokenizer(tokenizer: Any, pair: PromptPair, out: Path) -> None:
    """Write a tokenizer beside a whole model, which is meant to be served and so carries the safety prompt (PTST).

    Args:
        tokenizer: its chat template becomes the serving one.
        pair: whose serving form is baked in.
        out: the model's folder.
    """
    tokenizer.chat_template = pair.serving_template(tokenizer)
    tokenizer.save_pretrained(out)


def stored_dtype(folder: Path) -> Any:
    """The dtype in which a model's files hold most of its weights.

    Raises:
        ModelFormatError: when there are no safetensors, or they are torn.
    """
    import torch

    held = StoredWeights(folder).dtypes()
    known = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
    return known.get(max(held, key=lambda name: held[name]), torch.float32)


def _write_adapter(model: Any, state: dict[str, Any], out: Path, config: RecipeConfig) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    method = copy.deepcopy(model.peft_config[model.active_adapter])
    weights = get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False)
    weights = {name: tensor.detach().cpu() for name, tensor in weights.items()}
    if getattr(config.adapter, "variant", "") == "pissa":
        start = getattr(model, "pissa_start", None)
        if not isinstance(start, PissaStart):
            raise ModelFormatError(
                "Expected a PiSSA adapter with the matrices it started from, found none; load it with load_tunable."
            )
        weights = on_the_original_base(weights, start)
        method.init_lora_weights, method.r, method.lora_alpha = True, 2 * method.r, 2 * method.lora_alpha
    method.inference_mode = True
    if method.base_model_name_or_path is None:
        method.base_model_name_or_path = config.base
    out.mkdir(parents=True, exist_ok=True)
    method.save_pretrained(str(out))
    save_file(
        {name: weights[name].contiguous() for name in sorted(weights)},
        str(out / "adapter_model.safetensors"),
        metadata={"format": "pt"},
    )
    _in_order(out / "adapter_config.json")


def _in_order(file: Path) -> None:
    """Sort the names: PEFT writes sets in whatever order they have in this process."""
    values = json.loads(file.read_text(encoding="utf-8"))
    for name in ("target_modules", "exclude_modules"):
        if isinstance(values.get(name), list):
            values[name] = sorted(values[name])
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _whole_state(model: Any, *, frozen: bool) -> dict[str, Any]:
    """The weights by their names; shards of other processes are gathered on the first."""
    if not any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        return dict(model.state_dict())
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=not frozen)
    return dict(get_model_state_dict(model, options=options))


def _is_first() -> bool:
    import torch

    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
