"""`trial`: a model of a recipe on its device, stepped a few times and thrown away."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatdoctor_hub.errors import TrainingError
from chatdoctor_hub.training.data import Encoded
from chatdoctor_hub.training.passes import Passes, precision_for
from chatdoctor_hub.training.planning.prepared import Prepared
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.weights import Anchor, load_tunable

if TYPE_CHECKING:
    import torch

__all__ = ["Trial", "device_of_runs", "trial"]


@dataclass(frozen=True)
class Trial:
    """A model that may be stepped: nothing of it is kept.

    Args:
        config: the recipe.
        passes: of the model.
        device: where it is.
        optimizer: AdamW over what is trained, whatever the recipe's is.
    """

    config: RecipeConfig
    passes: Passes
    device: torch.device
    optimizer: torch.optim.Optimizer

    def step(self, samples: Sequence[Encoded]) -> tuple[float, float]:
        """One optimizer step: its mean loss (nats a learned token) and how many seconds it took.

        Raises:
            TrainingError: when the loss or the gradient is not finite, or memory does not suffice.
        """
        import torch

        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        started = time.perf_counter()
        try:
            lost = self.passes.gradients(samples)
            norm = torch.nn.utils.clip_grad_norm_(trained, self.config.training.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise TrainingError(
                f"Expected a step of {len(samples)} dialogues, the longest of {max(map(len, samples))} tokens, to "
                f"fit into the memory of the {self.device.type}, found that it does not; set "
                "training.checkpointing to 'on' or a smaller training.token_budget."
            ) from error
        loss = lost.total / max(1, lost.learned)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            raise TrainingError(
                f"Expected a finite loss and gradient, found {loss:.3g} and {float(norm):.3g}; set "
                "training.precision to 'float32', or use another base."
            )
        return loss, time.perf_counter() - started


@contextmanager
def trial(config: RecipeConfig, prepared: Prepared, longest: Sequence[Encoded]) -> Iterator[Trial]:
    """Load the recipe's model and get its passes ready.

    Args:
        config: the recipe.
        prepared: what is known without weights.
        longest: as `Passes` wants them.

    Raises:
        ConfigError, ModelFormatError: when the base cannot be loaded with the adapter.
    """
    import torch

    device = device_of_runs()
    model = load_tunable(config, prepared.folder, precision_for(config.training, device), device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = config.training
    optimizer = torch.optim.AdamW(
        trained,
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
    extra = Anchor(config.anchor) if config.anchor else None
    with torch.random.fork_rng(), Passes(model, settings, longest, extra=extra) as passes:
        torch.manual_seed(config.seed)
        yield Trial(config, passes, device, optimizer)


def device_of_runs() -> torch.device:
    """Where a run goes: what accelerate would choose."""
    from accelerate import PartialState

    device: torch.device = PartialState().device
    return device
