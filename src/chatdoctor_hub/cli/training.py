"""`chatdoctor recipes` and `chatdoctor train`: what can be tuned how, and the tuning."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from chatdoctor_hub.cli.hub_jobs import (
    DryRun,
    Flavor,
    JobOptions,
    On,
    Package,
    Release,
    Repo,
    Secrets,
    Timeout,
    Yes,
)
from chatdoctor_hub.cli.telling import Debug, told

if TYPE_CHECKING:
    from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = ["training_app"]

training_app = typer.Typer(
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
"""Its verbs stand beside those of the root: `app.add_typer(training_app)`, without a name."""


class _Strategy(str, enum.Enum):
    DDP = "ddp"
    FSDP2 = "fsdp2"
    DEEPSPEED = "deepspeed"


@training_app.command("recipes")
def recipes_command(
    name: Annotated[
        str | None, typer.Argument(help="A recipe, to be printed in YAML; without one: all of them.")
    ] = None,
    debug: Debug = False,
) -> None:
    """The packaged recipes; with a name its YAML, with its source and what it does otherwise."""
    with told(debug):
        from chatdoctor_hub.cli.training_display import TrainingDisplay
        from chatdoctor_hub.training.recipe import recipe_text, recipes

        if name is None:
            TrainingDisplay(Console()).recipes(recipes())
        else:
            typer.echo(recipe_text(name), nl=False)


@training_app.command("train")
def train_command(
    recipe: Annotated[str, typer.Argument(help="A packaged recipe's name, or a YAML file.")],
    base: Annotated[str | None, typer.Option(help="Folder or Hub id of a causal language model.")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Corpus folder, file or Hub id of dialogues; may be repeated.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="The run folder to write.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="a.b=value, the value in YAML (training.lr=1e-4); may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be trained, on what and how long; train nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --plan, --smoke or --on: print JSON.")
    ] = False,
    only_smoke: Annotated[
        bool, typer.Option("--smoke", help="Two steps on the longest dialogues, and end.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, whatever an earlier run left.")] = False,
    strategy: Annotated[
        _Strategy | None, typer.Option("--launch", help="On several processes or devices, by accelerate.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=2, help="How many, with --launch; 2 if not said.")
    ] = None,
    on: On = None,
    flavor: Flavor = None,
    repo: Repo = None,
    release: Release = None,
    secrets: Secrets = None,
    timeout: Timeout = None,
    package: Package = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    debug: Debug = False,
) -> None:
    """Base model + dialogues -> run folder, by a recipe; a run that was stopped goes on."""
    with told(debug):
        chosen = {"--plan": only_plan, "--smoke": only_smoke, "--launch": strategy is not None}
        job = JobOptions(on, flavor, repo, release, secrets, timeout, package, dry_run, yes)
        job.check(
            name for name, given in {**chosen, "--fresh": fresh}.items() if given and name != "--launch"
        )
        _check_choice(
            [name for name, is_chosen in chosen.items() if is_chosen],
            processes,
            as_json and on is None,
            fresh,
        )
        if on is not None:
            output = output or (repo or "").rpartition("/")[2] or None
        config = _config(recipe, settings or [], base=base, data=data, output=output, seed=seed)
        if on is not None:
            job.carry_out(config, strategy=strategy and strategy.value, processes=processes, as_json=as_json)
        elif only_plan:
            _plan(config, as_json)
        elif only_smoke:
            _smoke(config, as_json)
        else:
            _train(config, strategy, processes or 2, fresh)


def _check_choice(chosen: list[str], processes: int | None, as_json: bool, fresh: bool) -> None:
    from chatdoctor_hub.errors import ConfigError

    faults = []
    if len(chosen) > 1:
        faults.append(f"one of --plan, --smoke and --launch, found {' and '.join(chosen)}")
    if processes is not None and "--launch" not in chosen:
        faults.append("--launch (ddp, fsdp2 or deepspeed) with --processes, found none")
    if as_json and not {"--plan", "--smoke"} & set(chosen):
        faults.append("--plan or --smoke with --json, found neither")
    if fresh and {"--plan", "--smoke"} & set(chosen):
        faults.append(f"--fresh with a run, found {chosen[0]}")
    if faults:
        raise ConfigError(f"Expected {'; '.join(faults)}.")


def _config(recipe: str, settings: list[str], **given: Any) -> RecipeConfig:
    from chatdoctor_hub.training.recipe import RecipeConfig, with_settings

    values = {name: value for name, value in given.items() if value not in (None, [])}
    return RecipeConfig.load(recipe, **with_settings(values, settings))


def _plan(config: RecipeConfig, as_json: bool) -> None:
    from chatdoctor_hub.cli.training_display import TrainingDisplay
    from chatdoctor_hub.training.planning import plan

    found = plan(config)
    if as_json:
        typer.echo(json.dumps(found.to_record(), indent=2, ensure_ascii=False))
    else:
        TrainingDisplay(Console()).plan(found.to_record(), found.preview)


def _smoke(config: RecipeConfig, as_json: bool) -> None:
    from chatdoctor_hub.cli.training_display import TrainingDisplay
    from chatdoctor_hub.training.planning import smoke

    record = smoke(config).to_record()
    if as_json:
        typer.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        TrainingDisplay(Console()).record("Smoke test", record)


def _check_unfinished(output: str, fresh: bool) -> None:
    from chatdoctor_hub.errors import ConfigError

    if Path(output, "run.json").is_file() and not fresh:
        raise ConfigError(
            f"output: expected a folder without a finished run, found one in {output}; name another with "
            "--output, or replace it with --fresh."
        )


def _train(config: RecipeConfig, strategy: _Strategy | None, processes: int, fresh: bool) -> None:
    from chatdoctor_hub.cli.training_display import TrainingDisplay
    from chatdoctor_hub.training import fine_tune
    from chatdoctor_hub.training.launch import launch

    _check_unfinished(config.output, fresh)
    display = TrainingDisplay(Console())
    try:
        with display.progress() as on_step:
            if strategy is None:
                run = fine_tune(config, on_step=on_step, fresh=fresh)
            else:
                run = launch(config, strategy.value, processes, fresh=fresh, on_step=on_step)
    except KeyboardInterrupt:
        if not fresh:
            raise
        display.say("Stopped. The same command without --fresh goes on where it stopped.")
        raise typer.Exit(130) from None
    display.summary(run)
