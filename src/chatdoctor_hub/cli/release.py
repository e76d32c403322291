"""`chatdoctor release`: from a run to a folder that can be published, offline."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from chatdoctor_hub.cli.telling import Debug, told

if TYPE_CHECKING:
    from chatdoctor_hub.release import ReleaseFolder

__all__ = ["release_app"]

release_app = typer.Typer(
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
"""Its verb stands beside those of the root: `app.add_typer(release_app)`, without a name."""


@release_app.command("release")
def release_command(
    run: Annotated[Path, typer.Argument(help="The run folder that `chatdoctor train` wrote.")],
    out: Annotated[
        Path, typer.Option(help="The folder to write; an earlier release is replaced, your own files stay.")
    ],
    license: Annotated[
        str, typer.Option(help="Of the release, as the Hub or SPDX spells it; 'other' with --license-name.")
    ],
    license_name: Annotated[str, typer.Option(help="Of your own terms, with --license other.")] = "",
    license_link: Annotated[str, typer.Option(help="Where your own terms stand.")] = "",
    base_license: Annotated[
        str, typer.Option(help="Of the base model, where its folder does not say it.")
    ] = "",
    data_license: Annotated[
        str, typer.Option(help="Of the dialogues of whose source no licence is known.")
    ] = "",
    accept_licences: Annotated[
        bool,
        typer.Option(
            "--accept-licences", help="In spite of licences unknown or in conflict; the card says so."
        ),
    ] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Put the adapter into the base's weights.")] = False,
    as_lora: Annotated[
        bool, typer.Option("--as-lora", help="Write a linear parallel adapter as the LoRA that it equals.")
    ] = False,
    include_base: Annotated[
        bool,
        typer.Option(
            "--include-base",
            help="Put the base beside its adapter; for one found nowhere else that --merge refuses.",
        ),
    ] = False,
    metrics: Annotated[
        Path | None,
        typer.Option(help="JSON with measurements; without it the card says what was not measured."),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="JSON or YAML with more about the dialogues, or a corpus.json (default: the run's)."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the model (default: that of the folder).")] = "",
    contact: Annotated[str, typer.Option(help="Whom to write to, for the card.")] = "",
    debug: Debug = False,
) -> None:
    """Run -> release folder: weights, both chat templates, card, pictures, records; offline and checked."""
    with told(debug):
        from chatdoctor_hub.release import prepare_release, read_corpus_file

        made = prepare_release(
            run,
            out,
            metrics=None if metrics is None else _metrics(metrics),
            name=name,
            license=license,
            license_name=license_name,
            license_link=license_link,
            base_license=base_license,
            data_license=data_license,
            accept_licences=accept_licences,
            corpus=None if corpus is None else read_corpus_file(corpus),
            contact=contact,
            include_base=include_base,
            merge=merge,
            as_lora=as_lora,
        )
        _summary(made, Console())


def _metrics(file: Path) -> dict[str, Any]:
    from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataNotFoundError(
            f"{file}: expected JSON with measurements, found no readable file; check --metrics."
        ) from error
    except ValueError as error:
        raise DataFormatError(
            f"{file}: expected JSON with measurements, found something else; correct it."
        ) from error
    if not isinstance(found, dict):
        raise DataFormatError(
            f"{file}: expected a JSON object with measurements, found {type(found).__name__}; correct it."
        )
    return found


def _summary(release: ReleaseFolder, console: Console) -> None:
    from chatdoctor_hub.release import base_here, public_obstacles
    from chatdoctor_hub.release.manifest import MANIFEST
    from chatdoctor_hub.release.places import BASE_HERE
    from chatdoctor_hub.release.prepare import CARD

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    files = sorted(path for path in release.path.rglob("*") if path.is_file())
    for file in files:
        say(f"{file.stat().st_size:>14,} bytes  {file.relative_to(release.path)}")
    known = {*release.manifest.files, MANIFEST, CARD, BASE_HERE}
    names = [file.relative_to(release.path).as_posix() for file in files]
    if kept := [name for name in names if name not in known]:
        say(f"Not the release's, and kept as they were: {', '.join(kept)}.")
    metrics = release.manifest.metrics
    kinds = {"attack_success": "attack success", "over_refusal": "over-refusal", "perplexity": "perplexity"}
    if missing := [words for name, words in kinds.items() if name not in metrics]:
        say(f"Not measured, as the card says: {', '.join(missing)}.")
    if here := base_here(release.path):
        say(
            f"Only here: the base {here} is a folder of this machine, so that nobody else can use this release; "
            "--merge takes it along, or --include-base for an adapter that cannot be merged."
        )
    for obstacle in public_obstacles(release.path):
        say(f"Speaks against making it public: {obstacle}.")
    # A name that the Hub takes: no two hyphens or dots beside each other.
    repository = re.sub(r"[^A-Za-z0-9_.]+|[.-]{2,}", "-", release.manifest.name).strip("-.") or "NAME"
    say(f"Next: chatdoctor publish {release.path} YOUR-NAME/{repository} --dry-run")
