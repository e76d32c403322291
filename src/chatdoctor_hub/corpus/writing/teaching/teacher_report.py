"""How a teacher is asked (`TeacherConfig`), and what came of it: counts, tokens, cost, provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatdoctor_hub.corpus.writing.teaching.teacher_prompts import prompt_digest, read_prompt
from chatdoctor_hub.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from chatdoctor_hub.corpus.writing.teaching.teacher import Answers

__all__ = ["TeacherConfig", "TeacherReport", "TokenCount", "progress_of"]


class TeacherConfig(BaseModel):
    """How a teacher is asked.

    Raises:
        ConfigError: with all faults at once.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    max_concurrency: int = Field(8, ge=1, le=256, description="calls at a time")
    requests_per_second: float | None = Field(
        None, gt=0, description="calls a second at most; None: no limit"
    )
    attempts: int = Field(3, ge=1, le=20, description="answers asked for in all while the checks reject them")
    retries: int = Field(5, ge=0, le=20, description="calls made again after a fault that may pass")
    backoff: float = Field(
        1.0, ge=0, le=60, description="seconds before the first of these; doubles up to 60"
    )
    timeout: float = Field(120.0, gt=0, description="seconds for one call")
    stop_after: int = Field(10, ge=1, description="tasks in a row without an answer that end the run")
    structured: bool | None = Field(
        None, description="ask for structured output; None: where the model has it"
    )
    input_price: float | None = Field(None, ge=0, description="of a million tokens read, in any currency")
    output_price: float | None = Field(
        None, ge=0, description="of a million tokens written, the same currency"
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, fault['loc'])) or 'the settings'}: {fault['msg'].lower()}"
                for fault in error.errors(include_url=False, include_input=False)
            ]
            raise ConfigError(
                f"Expected valid settings for a teacher, found {len(faults)} fault(s): {'; '.join(faults)}; mend them."
            ) from None


@dataclass(frozen=True)
class TokenCount:
    """Tokens read and written, over replies whose model counts them; `uncounted` replies did not say."""

    input: int = 0
    output: int = 0
    uncounted: int = 0

    @classmethod
    def of(cls, usage: Mapping[str, int] | None) -> TokenCount:
        """From LangChain's `usage_metadata`."""
        if not usage:
            return cls(uncounted=1)
        return cls(int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0)))

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(
            self.input + other.input, self.output + other.output, self.uncounted + other.uncounted
        )

    def cost(self, config: TeacherConfig) -> float | None:
        """What they cost at the prices of the settings, or None without prices."""
        if config.input_price is None and config.output_price is None:
            return None
        return (self.input * (config.input_price or 0) + self.output * (config.output_price or 0)) / 1e6


@dataclass(frozen=True)
class TeacherReport:
    """Where taught texts come from and what they took; holds no text.

    Args:
        teacher: name of the model.
        prompt: id of the prompt, with its version ("synthesis-teacher@1").
        prompt_digest: sha256 (hex) of its text.
        tasks, accepted, rejected, failed: how many were asked for; of these how many came out well, were
            rejected as often as they were asked for, or had no answer.
        replies, reused, calls, retried: see `Answers`.
        rejections: rejected replies by kind of fault; a reply may have several.
        tokens: of all replies; `cost` at the prices that were given, or None.
        journal_digest: sha256 (hex) over all replies behind the result.
    """

    teacher: str
    prompt: str
    prompt_digest: str
    tasks: int
    accepted: int
    rejected: int
    failed: int
    replies: int
    reused: int
    calls: int
    retried: int
    rejections: dict[str, int]
    tokens: TokenCount
    cost: float | None
    journal_digest: str
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        answers: Answers[Any],
        teacher: str,
        prompt: str,
        journal_digest: str,
        config: TeacherConfig,
        asked: Mapping[str, Any],
    ) -> TeacherReport:
        """The report on what became of the tasks of one prompt."""
        accepted = sum(not faults for faults in answers.last)
        return cls(
            teacher=teacher,
            prompt=str(read_prompt(prompt)["id"]),
            prompt_digest=prompt_digest(prompt),
            tasks=len(answers.values),
            accepted=accepted,
            rejected=len(answers.values) - accepted - answers.failed,
            failed=answers.failed,
            replies=answers.replies,
            reused=answers.reused,
            calls=answers.calls,
            retried=answers.retried,
            rejections=dict(sorted(answers.rejections.items())),
            tokens=answers.usage,
            cost=answers.usage.cost(config),
            journal_digest=journal_digest,
            settings={**asked, "attempts": config.attempts},
        )

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            f"{self.accepted} of {self.tasks} accepted, {self.rejected} rejected, {self.failed} without an answer",
            f"{self.calls} calls now, {self.reused} replies from the journal",
            _tokens(self.tokens, self.cost),
        ]
        return "; ".join(parts)


def _tokens(tokens: TokenCount, cost: float | None) -> str:
    price = "" if cost is None else f", cost {cost:.4f}"
    unsaid = f" ({tokens.uncounted} replies uncounted)" if tokens.uncounted else ""
    return f"{tokens.input:,} tokens read, {tokens.output:,} written{unsaid}{price}"


@contextmanager
def progress_of(console: Console | None, what: str, total: int, config: TeacherConfig) -> Iterator[Any]:
    """A progress bar with tokens and cost on a terminal; gives what `ask_all` calls, or None."""
    if console is None or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    done = 0
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task(what, total=total, note="")

        def advance(state: Answers[Any]) -> None:
            nonlocal done
            done += 1
            bar.update(shown, completed=done, note=_tokens(state.usage, state.usage.cost(config)))

        yield advance
