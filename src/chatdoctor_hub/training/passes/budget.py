"""What a step holds in memory, and how many tokens a micro-batch may have for it to fit.

An estimate from the shapes of the model: what a block of Llama's kind keeps for its backward pass, counted
tensor by tensor; on a CPU within a factor of two of the measured peak (`tests/training/passes/test_budget.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes.memory import free_memory
from chatdoctor_hub.training.passes.precision import precision_for
from chatdoctor_hub.training.passes.threads import worker_count
from chatdoctor_hub.training.recipe import TrainingConfig

if TYPE_CHECKING:
    import torch

__all__ = ["Budget", "Footprint", "Shape", "budget_for", "budget_within", "footprint_of"]

_FASTEST_ON_CPU = 4096  # tokens a worker; more gain nothing, and leave the caches
_WORTHWHILE = 2048  # tokens that keep a GPU busy; fewer cost more than recomputing activations does
_USABLE = 0.9  # of the free memory; the rest is lost between blocks
_LABELLED = 0.5  # labelled tokens of all, where none were counted; real dialogues have 45 %
_UNGATED = frozenset(
    {"bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "mpt", "opt", "phi"}
    | {"starcoder2"}
)
_GRADIENT, _ADAM = 4, 8  # bytes a trained parameter: in float32; AdamW's two averages of it
# What a CPU's heap keeps between live blocks, measured: 1.2 to 1.9 bytes for each that is asked for.
_SLACK, _SLACK_FUSED = 1.4, 1.2


@dataclass(frozen=True)
class Budget:
    """How a step is cut up.

    Args:
        tokens: a micro-batch may hold; a longer dialogue stands alone.
        checkpointing: whether activations are recomputed in the backward pass.
        peak_bytes: estimate of all that is held at most, weights and optimizer included.
    """

    tokens: int
    checkpointing: bool
    peak_bytes: int


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder.

    Args:
        hidden: width of the residual stream.
        layers: blocks.
        queries: heads times their size.
        keys: the same of keys, and of values.
        intermediate: width inside the MLP, of all experts that a token goes through.
        gated: whether the MLP has a gate beside it.
        vocabulary: logits of a position.
    """

    hidden: int
    layers: int
    queries: int
    keys: int
    intermediate: int
    gated: bool
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read from a transformers config."""
        config = config.get_text_config()
        hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
        size = getattr(config, "head_dim", None) or hidden // heads
        inside = next(
            (
                value
                for name in ("moe_intermediate_size", "intermediate_size", "ffn_dim", "n_inner")
                if isinstance(value := getattr(config, name, None), int)
            ),
            4 * hidden,
        )
        return cls(
            hidden,
            int(config.num_hidden_layers),
            heads * size,
            (getattr(config, "num_key_value_heads", None) or heads) * size,
            inside * (getattr(config, "num_experts_per_tok", None) or 1),
            config.model_type not in _UNGATED,
            int(config.vocab_size),
        )


@dataclass(frozen=True)
class Footprint:
    """What a step holds, in bytes.

    Args:
        weights: of the model as it is loaded.
        training: gradients, the optimizer's averages, and copies of weights in another precision.
        a_token: activations of a token that wait for the backward pass.
        a_checkpoint: the same where blocks are recomputed.
        a_block: what the backward pass of one block makes for a token.
        a_label: logits of a labelled position, their softmax and gradient.
        labelled: labelled tokens for each token, at most.
        slack: what the allocator holds for each byte of activations.
    """

    weights: int
    training: int
    a_token: int
    a_checkpoint: int
    a_block: int
    a_label: int
    labelled: float = _LABELLED
    slack: float = 1.0

    def held(self, checkpointing: bool) -> float:
        """Bytes that a token of a micro-batch takes."""
        kept = self.a_checkpoint if checkpointing else self.a_token
        return self.slack * (kept + max(self.a_block, self.a_label * self.labelled))

    def peak(self, tokens: int, *, checkpointing: bool = False, workers: int = 1) -> int:
        """All that is held when every worker is in the backward pass of a micro-batch of `tokens`."""
        return self.weights + self.training + math.ceil(workers * tokens * self.held(checkpointing))


def footprint_of(
    shape: Shape,
    *,
    weights: int,
    trained: int,
    precision: torch.dtype,
    kind: str = "cuda",
    cast_adapter: bool = False,
    copied: int = 0,
    workers: int = 1,
    fused: bool = False,
    labelled: float = _LABELLED,
) -> Footprint:
    """Count what a step holds, for an adapter on every linear layer or none.

    On an 8B shape in bfloat16, activations come to 5.9 MiB a token, and to 9.0 with `cast_adapter`.

    Args:
        shape: of the model.
        weights: bytes of the loaded model.
        trained: parameters that are trained.
        precision: of the passes.
        kind: of the device; on a CPU attention runs in float32.
        cast_adapter: the input of every adapted layer is held in float32, as PEFT does it for an adapter
            in float32 on a base in half precision.
        copied: bytes of the weights that the passes copy into their precision.
        workers: threads with gradients of their own.
        fused: the layers are; the head and its loss are worked out in chunks.
        labelled: labelled tokens for each token.
    """
    size = precision.itemsize
    attending = 4 if kind == "cpu" else size
    inner = (4 if shape.gated else 2) * shape.intermediate
    # Inputs of both norms in float32 and their outputs; q, k, v and what attention gives, and that in the
    # order of the tokens; what the MLP's gate, sigma and product give.
    block = 8 * shape.hidden + size * (2 * shape.hidden + shape.queries + inner)
    block += attending * 2 * (shape.queries + shape.keys)
    if cast_adapter and size < 4:
        # q, k, v, gate and up cast the same input each; the casts stand in for what was cast.
        reads = 3 + (2 if shape.gated else 1)
        block += (4 * reads - 2 * size) * shape.hidden + (4 - size) * (shape.queries + shape.intermediate)
    logits = 0 if fused else shape.vocabulary * (2 * size + 8 + (4 if size < 4 else 0))
    backward = size * (2 * shape.intermediate + 3 * shape.hidden) + 8 * shape.hidden
    gradients = _GRADIENT * (1 if workers == 1 and not copied else workers + 1)
    return Footprint(
        weights,
        trained * (gradients + _ADAM) + copied,
        shape.layers * block + size * shape.hidden,
        shape.layers * size * shape.hidden + block,
        backward,
        logits,
        labelled,
        1.0 if kind != "cpu" else _SLACK_FUSED if fused else _SLACK,
    )


def budget_for(
    model: Any,
    settings: TrainingConfig,
    device: torch.device | str,
    longest: Sequence[Encoded] = (),
    *,
    fused: bool = False,
    free: int | None = None,
) -> Budget:
    """How many tokens a micro-batch may hold, and whether activations are recomputed.

    On a CPU as many as are fastest; on a GPU as many as fit. `settings.token_budget` and
    `settings.checkpointing` go before both.

    Args:
        model: on its device, or on the meta device, when its weights are counted as yet to be loaded.
        settings: token_budget, checkpointing, precision, adapter_precision, workers, batch_size.
        device: where the passes run.
        longest: the longest dialogues (and any others), for their length and share of labelled tokens.
        fused: whether the layers are fused, which multiply adapters in the precision of the passes.
        free: bytes of the device that may be used; None asks the device.
    """
    import torch

    device = torch.device(device)
    parameters = list(model.parameters())
    halves = {item.dtype for item in parameters if item.dtype in (torch.bfloat16, torch.float16)}
    precision = halves.pop() if halves else precision_for(settings, device)
    workers = worker_count(model, settings, device)
    in_half = settings.adapter_precision == "base" or not hasattr(model, "peft_config")
    copied = [
        item.numel() * precision.itemsize
        for item in parameters
        if item.dtype == torch.float32 and (in_half or not item.requires_grad)
    ]
    footprint = footprint_of(
        Shape.of(model.config),
        weights=sum(item.numel() * item.element_size() for item in parameters),
        trained=sum(item.numel() for item in parameters if item.requires_grad),
        precision=precision,
        kind=device.type,
        cast_adapter=not fused and not in_half,
        copied=sum(copied) if precision != torch.float32 else 0,
        workers=workers,
        fused=fused,
        labelled=_share(longest),
    )
    loaded = 0 if parameters and parameters[0].is_meta else footprint.weights
    room = (free_memory(device) if free is None else free) + loaded
    return budget_within(footprint, settings, device.type, room, workers, _length(longest, settings))


def budget_within(
    footprint: Footprint, settings: TrainingConfig, kind: str, room: int, workers: int, longest: int
) -> Budget:
    """The budget of a step that may hold `room` bytes in all, weights included.

    Args:
        footprint: of the step.
        settings: token_budget, checkpointing, batch_size.
        kind: of the device, "cpu" or another.
        room: bytes.
        workers: threads with micro-batches of their own.
        longest: tokens of the longest dialogue.
    """
    spare = room * _USABLE - footprint.weights - footprint.training
    whole = settings.batch_size * longest
    wanted = min(whole, _FASTEST_ON_CPU if kind == "cpu" else _WORTHWHILE)
    least = max(longest, settings.token_budget or wanted)

    def fitting(checkpointing: bool) -> int:
        return int(spare / (workers * footprint.held(checkpointing)))

    checkpointing = settings.checkpointing == "on"
    if settings.checkpointing == "auto":
        # On a CPU smaller micro-batches cost little; only the longest dialogue has to fit.
        checkpointing = fitting(False) < (longest if kind == "cpu" and not settings.token_budget else least)
    tokens = settings.token_budget
    if not tokens:
        most = _FASTEST_ON_CPU if kind == "cpu" else fitting(checkpointing)
        tokens = max(min(most, fitting(checkpointing)), longest)
    share = math.ceil(whole / workers)
    peak = footprint.peak(max(longest, min(tokens, share)), checkpointing=checkpointing, workers=workers)
    return Budget(tokens, checkpointing, peak)


def _length(longest: Sequence[Encoded], settings: TrainingConfig) -> int:
    return max((len(sample) for sample in longest), default=settings.max_length)


def _share(samples: Sequence[Encoded]) -> float:
    """The largest share of labelled tokens among those samples that are about as long as the longest."""
    import numpy

    size = max((len(sample) for sample in samples), default=0)
    shares = [
        float(numpy.count_nonzero(numpy.asarray(sample.labelled))) / len(sample)
        for sample in samples
        if 2 * len(sample) >= size and len(sample)
    ]
    return max(shares, default=_LABELLED)
