"""`project_safe_lora`: the updates of a LoRA, projected where they leave the direction of alignment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.folders import replacing_file
from chatdoctor_hub.models import locate
from chatdoctor_hub.training.recipe.options import SafeLoraConfig
from chatdoctor_hub.training.weights.stored import StoredWeights

if TYPE_CHECKING:
    import torch

__all__ = ["SafeLoraReport", "project_safe_lora"]

_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class SafeLoraReport:
    """What Safe LoRA did; its use is contested (arXiv 2505.14185).

    Args:
        aligned, unaligned: the models whose difference is the direction.
        threshold: cosines below this were projected.
        cosines: by module, between its update and the update's projection.
        projected: the modules whose update was projected.
        same: modules whose weights do not differ between the two, so that there is no direction.
        status: "contested".
    """

    aligned: str
    unaligned: str
    threshold: float
    cosines: dict[str, float]
    projected: tuple[str, ...]
    same: tuple[str, ...]
    status: str = "contested"

    def to_record(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "projected": list(self.projected), "same": list(self.same)}


def project_safe_lora(adapter: Path, config: SafeLoraConfig, base: str) -> SafeLoraReport:
    """Project the updates of a saved LoRA onto the aligned-minus-unaligned direction, where they are far from it.

    Of each adapted module, with V = W_aligned - W_unaligned and the update B A (Safe LoRA, arXiv 2405.16833,
    section 3, with its fast approximation of the projection): C = V V^T / |V|_F, cosine of B A and C B A as
    vectors; where it is below the threshold B becomes C B. C is never built, and no two models are in
    memory: weights are read a module at a time.

    Args:
        adapter: the folder of the LoRA; its weights are replaced whole or not at all.
        config: the unaligned model, the aligned one (None: `base`) and the threshold.
        base: folder or Hub id of the recipe's base.

    Raises:
        ConfigError: when the adapter is no plain LoRA, or the two models are the same.
        ModelNotFoundError, ModelFormatError: when a model or a weight is not there, or of another shape.
    """
    from safetensors.torch import load_file, save_file

    _check_is_lora(adapter)
    aligned = StoredWeights(locate(config.aligned or base))
    unaligned = StoredWeights(locate(config.unaligned))
    weights = load_file(str(adapter / _WEIGHTS))
    cosines: dict[str, float] = {}
    projected, same = [], []
    for module, down, up in _updates(weights):
        direction = _direction(module, aligned, unaligned, (weights[up].shape[0], weights[down].shape[1]))
        cosine, new = _projection(direction, weights[down], weights[up])
        if cosine is None:
            same.append(module)
            continue
        cosines[module] = cosine
        if cosine < config.threshold:
            weights[up] = new
            projected.append(module)
    if not cosines:
        raise ConfigError(
            f"safe_lora.unaligned: expected another model than the aligned one ({config.aligned or base}), "
            f"found {config.unaligned}, whose weights are the same; name the base before its alignment."
        )
    with replacing_file(adapter / _WEIGHTS, what="LoRA adapter") as new_file:
        save_file(weights, str(new_file), metadata={"format": "pt"})
    return SafeLoraReport(
        config.aligned or base, config.unaligned, config.threshold, cosines, tuple(projected), tuple(same)
    )


def _check_is_lora(adapter: Path) -> None:
    file = adapter / "adapter_config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(
            f"{file}: expected the config of a LoRA, found none; train one first."
        ) from error
    if values.get("peft_type") != "LORA" or values.get("use_dora"):
        found = "DoRA" if values.get("use_dora") else values.get("peft_type")
        raise ConfigError(
            f"{file}: expected a plain LoRA, whose update is the product of its matrices, found {found}; leave "
            "safe_lora out."
        )


def _updates(weights: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(module, name of A, name of B) of each adapted module."""
    for down in sorted(weights):
        if down.endswith(".lora_A.weight"):
            yield (
                down.removeprefix("base_model.model.").removesuffix(".lora_A.weight"),
                down,
                down.replace(".lora_A.", ".lora_B."),
            )


def _direction(
    module: str, aligned: StoredWeights, unaligned: StoredWeights, shape: tuple[int, int]
) -> torch.Tensor:
    """V, (out, in), float32."""
    first, second = (model.tensor(f"{module}.weight").float() for model in (aligned, unaligned))
    for model, tensor in ((aligned, first), (unaligned, second)):
        if tuple(tensor.shape) not in (shape, shape[::-1]):
            raise ModelFormatError(
                f"{model.folder}: expected {module} of shape {shape} as the adapter's update, found "
                f"{tuple(tensor.shape)}; name a model of the same architecture."
            )
    if first.shape != second.shape:
        raise ModelFormatError(
            f"{unaligned.folder}: expected {module} of shape {tuple(first.shape)}, found {tuple(second.shape)}; "
            "name the base before its alignment."
        )
    direction = first - second
    # GPT-2's layers hold their weights the other way round.
    return direction if tuple(direction.shape) == shape else direction.T


def _projection(
    direction: torch.Tensor, down: torch.Tensor, up: torch.Tensor
) -> tuple[float | None, torch.Tensor]:
    """(cosine, C B); the cosine is None where there is no direction, 1 where there is no update."""
    import torch

    size = torch.linalg.norm(direction)
    if not size:
        return None, up
    moved = direction @ (direction.T @ up.float()) / size
    # <B A, C B A> and the norms from r x r products: trace(X^T Y A A^T) for X A and Y A.
    gram = (down.float() @ down.float().T).double()

    def inner(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(((x.double().T @ y.double()) * gram).sum())

    sizes = inner(up, up) * inner(moved, moved)
    cosine = 1.0 if sizes <= 0 else inner(up, moved) / sizes**0.5
    return round(cosine, 5), moved.to(up.dtype).contiguous()
