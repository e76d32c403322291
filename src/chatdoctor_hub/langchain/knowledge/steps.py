"""A plan of calls, told apart from the way the calls are made.

What a consultation does is written once, as a generator that yields the calls it needs and is sent their
results. It is run here: alone or many at a time, synchronously or not. Many plans run in step, so that their
calls of one runnable are one `batch`, which a local model computes together.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs

__all__ = ["Plan", "Step", "arun_plans", "run_plans"]

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """Calls of one runnable that a plan needs.

    Args:
        runnable: what to call.
        inputs: one a call.
        name: of the runs, in traces.
        tags: of the runs.
        given: further arguments of each call.
    """

    runnable: Runnable[Any, Any]
    inputs: Sequence[Any]
    name: str
    tags: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)

    def configs(self, config: RunnableConfig) -> list[RunnableConfig]:
        """The config of the plan's run, made into one for each call."""
        own = RunnableConfig(run_name=self.name, tags=list(self.tags))
        return [merge_configs(config, own) for _ in self.inputs]

    def joins(self, other: Step) -> bool:
        """Whether both can be one batch."""
        return self.runnable is other.runnable and self.name == other.name and self.given == other.given


Plan = Generator[Step, list[Any], T]
"""Yields steps; is sent a list of a step's results, in which an exception stands for a call that failed."""


def run_plans(plans: Sequence[Plan[T]], configs: Sequence[RunnableConfig]) -> list[T | Exception]:
    """What each plan returns, or the exception it raises.

    Args:
        plans: not yet started.
        configs: of the run that each plan belongs to.
    """
    progress = _Progress(plans, configs)
    while progress.waiting:
        turn = progress.next_turn()
        progress.settle(
            turn,
            turn.step.runnable.batch(turn.inputs, turn.configs, return_exceptions=True, **turn.step.given),
        )
    return progress.outcomes


async def arun_plans(plans: Sequence[Plan[T]], configs: Sequence[RunnableConfig]) -> list[T | Exception]:
    """`run_plans`, without blocking the event loop."""
    progress = _Progress(plans, configs)
    while progress.waiting:
        turn = progress.next_turn()
        results = await turn.step.runnable.abatch(
            turn.inputs, turn.configs, return_exceptions=True, **turn.step.given
        )
        progress.settle(turn, results)
    return progress.outcomes


@dataclass(frozen=True)
class _Turn:
    """Steps of several plans that are made as one batch."""

    step: Step
    owners: list[int]
    inputs: list[Any]
    configs: list[RunnableConfig]


class _Progress(Generic[T]):
    """How far each plan has come."""

    def __init__(self, plans: Sequence[Plan[T]], configs: Sequence[RunnableConfig]) -> None:
        self._plans = plans
        self._configs = configs
        self.outcomes: list[Any] = [None] * len(plans)
        self.waiting: dict[int, Step] = {}
        for number in range(len(plans)):
            self._advance(number, None)

    def next_turn(self) -> _Turn:
        first = next(iter(self.waiting.values()))
        owners = [number for number, step in self.waiting.items() if step.joins(first)]
        inputs = [given for number in owners for given in self.waiting[number].inputs]
        configs = [
            config for number in owners for config in self.waiting[number].configs(self._configs[number])
        ]
        return _Turn(first, owners, inputs, configs)

    def settle(self, turn: _Turn, results: Sequence[Any]) -> None:
        rest = iter(results)
        for number in turn.owners:
            step = self.waiting.pop(number)
            self._advance(number, [next(rest) for _ in step.inputs])

    def _advance(self, number: int, results: list[Any] | None) -> None:
        plan = self._plans[number]
        try:
            self.waiting[number] = next(plan) if results is None else plan.send(results)
        except StopIteration as end:
            self.outcomes[number] = end.value
        except Exception as error:  # noqa: BLE001  it is the outcome of this plan, not of the others
            self.outcomes[number] = error
