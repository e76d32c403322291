"""`chatdoctor corpus …`: the verbs that make training data, and look at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from chatdoctor_hub.cli.telling import Debug, told

if TYPE_CHECKING:
    from chatdoctor_hub.corpus.building.config import CorpusConfig
    from chatdoctor_hub.dialogue import Dialogue

__all__ = ["corpus_app"]

corpus_app = typer.Typer(
    help="Training data from raw dialogues and disease tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SHOWN = 20  # leaks that are listed


@corpus_app.command("build")
def build_command(
    config: Annotated[
        Path | None, typer.Argument(help="Settings in YAML. [only --source, --out and --set]")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="File, folder or Hub id to read; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The corpus folder to write.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, the value in YAML; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and end.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="The first unusable record is an error.")] = False,
    debug: Debug = False,
) -> None:
    """Files of dialogues -> cleaned, compared and divided -> a corpus folder with a data card."""
    with told(debug):
        from chatdoctor_hub.cli.corpus_tables import BuildDisplay
        from chatdoctor_hub.corpus.building.build import build_corpus
        from chatdoctor_hub.corpus.building.plan import plan_corpus
        from chatdoctor_hub.corpus.building.workplace import workplace_of

        given: dict[str, Any] = _settings(settings or [])
        given |= {"sources": source} if source else {}
        given |= {"out": str(out)} if out else {}
        wanted = _config(config, given | ({"strict": True} if strict else {}))
        display = BuildDisplay(Console())
        plan = plan_corpus(wanted)
        display.plan(plan)
        if not dry_run:
            try:
                with display.progress() as on_progress:
                    corpus = build_corpus(wanted, on_progress=on_progress)
            except KeyboardInterrupt:
                display.left(workplace_of(wanted.out))
                raise
            display.summary(corpus)


@corpus_app.command("show")
def show_command(
    folder: Annotated[Path, typer.Argument(help="A corpus folder.")],
    verify: Annotated[bool, typer.Option(help="Compare every file with the record.")] = True,
    debug: Debug = False,
) -> None:
    """What a corpus holds, where it comes from and what was left out of it; no dialogue is shown."""
    with told(debug):
        from chatdoctor_hub.cli.corpus_tables import BuildDisplay
        from chatdoctor_hub.corpus.folder import Corpus

        BuildDisplay(Console()).summary(Corpus.open(folder, verify=verify))


@corpus_app.command("leaks")
def leaks_command(
    training: Annotated[str, typer.Argument(help="Corpus folder, file, or Hub id of what is trained on.")],
    evaluation: Annotated[list[str], typer.Argument(help="Files or Hub ids of what is evaluated with.")],
    threshold: Annotated[float, typer.Option(help="Jaccard similarity that is a leak, 0 … 1.")] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of them as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Which training records repeat evaluation records; exit status 1 when there are any.

    Where training records were de-identified, evaluation records are compared in that form as well.
    """
    with told(debug):
        from chatdoctor_hub.cli.corpus_tables import BuildDisplay
        from chatdoctor_hub.corpus.cleaning import find_leaks

        compared = (one for path in evaluation for one in _named_dialogues(path))
        leaks = find_leaks(_named_dialogues(training), compared, threshold)
        if as_json:
            record = {"threshold": threshold, "found": len(leaks), "leaks": [asdict(leak) for leak in leaks]}
            typer.echo(json.dumps(record, indent=2, ensure_ascii=False))
        else:
            BuildDisplay(Console()).leaks(leaks, _SHOWN)
        if leaks:
            raise typer.Exit(1)


@corpus_app.command("audit")
def audit_command(
    data: Annotated[
        str | None, typer.Argument(help="Corpus folder, file, or Hub id (default: planted identifiers).")
    ] = None,
    planted: Annotated[int, typer.Option("--n", help="Planted identifiers, and clean sentences.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of what is planted where.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """What de-identification finds of planted identifiers, or how many of each kind it finds in your data.

    Without data: recall by kind and false changes; exit status 1 where a bar is missed. With data: counts by
    kind, which are no measure of what was missed.
    """
    with told(debug):
        from chatdoctor_hub.corpus.cleaning import audit, count_identifiers

        report: Any = count_identifiers(_named_dialogues(data)) if data else audit(n=planted, seed=seed)
        if as_json:
            typer.echo(json.dumps(report.to_record(), indent=2))
        else:
            Console().print(report)
        if not data and report.failures:
            raise typer.Exit(1)


def _config(path: Path | None, given: dict[str, Any]) -> CorpusConfig:
    from chatdoctor_hub.corpus.building.config import CorpusConfig

    return CorpusConfig.load(path, **given) if path else CorpusConfig(**given)


def _settings(pairs: list[str]) -> dict[str, Any]:
    import yaml

    from chatdoctor_hub.errors import ConfigError

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise ConfigError(f"Expected --set key=value with a value in YAML, found {pair!r}; mend it.")
    return found


def _named_dialogues(path: str) -> Iterator[Dialogue]:
    """The dialogues of a corpus folder or a source, each called by its source and its id."""
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.corpus.reading import SourceConfig, stream_dialogues
    from chatdoctor_hub.corpus.reading.splits_by_name import ALL
    from chatdoctor_hub.corpus.record import RECORD
    from chatdoctor_hub.corpus.splits import SPLITS
    from chatdoctor_hub.dialogue import Dialogue

    if (Path(path) / RECORD).is_file():
        corpus = Corpus.open(path)
        found: Iterator[Any] = (item for name in SPLITS for item in corpus.stream(name))
    else:
        found = iter(stream_dialogues(SourceConfig(path=path, split=ALL)))
    for item in found:
        if isinstance(item, Dialogue):
            yield replace(item, id=f"{item.source} {item.id}")
