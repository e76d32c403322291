"""`prepare_release`: from a run folder to a folder that can be pushed to the Hub as it stands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from chatdoctor_hub.cards import field_faults
from chatdoctor_hub.errors import ConfigError, ReleaseFormatError
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.models import load_tokenizer
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.release.card import check_card, render_card
from chatdoctor_hub.release.evaluation import write_eval_results
from chatdoctor_hub.release.figures import draw_loss, draw_safety
from chatdoctor_hub.release.licences import licence_faults, own_licence
from chatdoctor_hub.release.manifest import (
    MANIFEST,
    SERVING_TEMPLATE,
    TRAINING_TEMPLATE,
    BaseModelRecord,
    Manifest,
    load_manifest,
    sha256_of,
)
from chatdoctor_hub.release.places import BASE_HERE, base_place, without_places
from chatdoctor_hub.release.sections import check_metrics, course_of, describe_data, safety_rows
from chatdoctor_hub.release.versions_file import VERSIONS, write_versions
from chatdoctor_hub.release.weights import Export, write_weights
from chatdoctor_hub.training import RunFolder
from chatdoctor_hub.training.run_folder import RECORD

__all__ = ["CARD", "ReleaseFolder", "prepare_release"]

CARD = "README.md"


@dataclass(frozen=True)
class ReleaseFolder:
    """A release that is complete and checked.

    Args:
        path: the folder.
    """

    path: Path

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest, checked on first use (see `load_manifest`)."""
        return load_manifest(self.path)


def prepare_release(
    run: RunFolder | str | Path,
    out: str | Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    name: str = "",
    license: str = "apache-2.0",
    license_name: str = "",
    license_link: str = "",
    base_license: str = "",
    data_license: str = "",
    accept_licences: bool = False,
    corpus: Mapping[str, Any] | None = None,
    contact: str = "",
    include_base: bool = False,
    merge: bool = False,
    as_lora: bool = False,
) -> ReleaseFolder:
    """Write the release of a tuning run; nothing is uploaded.

    The weights as safetensors, the tokenizer with the serving form baked into its chat template and the
    training form beside it, the manifest, the model card, pictures and measurements in the Hub's forms, the
    recipe and the lock of versions. The folder appears under its name only when it is complete; an earlier
    release is replaced, but what people wrote into its card stays, and so do files that are not the release's.
    The same run and settings give the same bytes.

    Args:
        run: what `fine_tune` returned, or its folder.
        out: the folder to write.
        metrics: measurements, as `quickstart` makes them, each if it was made: "perplexity" and "overlap"
            (before, after), "attack_success" and "over_refusal" (base and tuned, training and serving form);
            others as records of "value" and "n". The card says what was not measured.
        name: of the model, one line; by default that of the folder.
        license: of the release, as the Hub or SPDX spells it; "other" with `license_name`.
        license_name: of one's own terms.
        license_link: where they stand.
        base_license: of the base model, where its folder does not say it.
        data_license: of the dialogues of whose source none is known.
        accept_licences: release in spite of licences that are unknown or in conflict; the card says so.
        corpus: more about the dialogues for the card: "description", "licence", "consent",
            "deidentification", "url", "sources".
        contact: whom to write to.
        include_base: copy the base model into the release, for one that exists nowhere else and an adapter that
            cannot be merged, or should not be rounded; a whole model needs none.
        merge: put the adapter into the base's weights, verified by their logits.
        as_lora: write a linear parallel adapter as the plain LoRA that it equals.

    Raises:
        DataNotFoundError, DataFormatError: when `run` is no run folder, or `out` is something else than an
            earlier release.
        ReleaseFormatError: naming the field: for a licence that is unknown or in conflict, a measurement that
            is none, a card with gaps, placeholders or claims, or a base that has changed.
        ModelFormatError: when the weights cannot be merged or exported; the message says why.
        ConfigError: for `merge` together with `as_lora` or `include_base`.
    """
    if merge and (as_lora or include_base):
        raise ConfigError(
            f"Expected merge alone, found {'as_lora' if as_lora else 'include_base'} with it; a merged model needs "
            "no other weights: choose one."
        )
    export: Export = "merged" if merge else "lora" if as_lora else ""
    folder = RunFolder.open(run.path if isinstance(run, RunFolder) else run)
    out = Path(out)
    about = describe_data(folder.manifest.recipe.data, corpus or {}, data_license)
    _check_name(name)
    _check_texts({"name": name, "contact": contact, "license_name": license_name, **_words_of(about)})
    check_metrics(metrics or {})
    own = own_licence(license, license_name, license_link)
    base_license = base_license or _base_licence(folder, own["license"], include_base)
    faults = _told_faults(own["license"], base_license, about["sources"], accept_licences)
    with replacing_folder(out, what="release", marker=MANIFEST) as partial:
        report = write_weights(folder, partial, export=export, include_base=include_base)
        _write_tokenizer(folder, partial)
        write_versions(folder.manifest, partial / VERSIONS)
        recipe = without_places(yaml.safe_load(folder.manifest.recipe.to_yaml()))
        (partial / "recipe.yaml").write_text(
            yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        is_whole = merge or folder.manifest.recipe.adapter.kind == "full"
        manifest = Manifest(
            name=name or out.resolve().name,
            weights="model" if is_whole else "adapter",
            **own,
            licence_faults=faults,
            contact=contact.strip(),
            created=_time_of(folder),
            base=_base(folder, base_license, include_base and not is_whole),
            prompt=folder.manifest.prompt,
            recipe=without_places(folder.manifest.recipe.model_dump(mode="json")),
            seed=folder.manifest.recipe.seed,
            corpus={**about, **without_places(folder.manifest.data.model_dump(mode="json"))},
            training=_training(folder),
            metrics=without_places(dict(metrics or {})),
            versions=folder.manifest.versions,
            export={"as": export, "report": report} if report else {},
            files={},
        )
        _finish(folder, manifest, partial, *_earlier(out))
        if manifest.weights == "adapter" and not manifest.base.path and (here := base_place(folder).here):
            (partial / BASE_HERE).write_text(f"{here}\n", encoding="utf-8")
        _carry_over(out, partial)
    return ReleaseFolder(out)


def _finish(run: RunFolder, manifest: Manifest, partial: Path, earlier: str, earlier_name: str) -> None:
    """Pictures, measurements, manifest and card, which are made from the manifest alone; and the check of all."""
    draw_loss(run.metrics, partial / "loss.png", f"{manifest.name}: loss of the tuning run")
    if rows := safety_rows(manifest.metrics):
        title = f"{manifest.name}: safety, without and with the safety prompt"
        draw_safety(rows, partial / "safety.png", title)
    write_eval_results(manifest, partial)
    manifest = manifest.model_copy(update={"files": _digests(partial)})
    (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    card = render_card(manifest, earlier=earlier, earlier_name=earlier_name)
    check_card(card)
    (partial / CARD).write_text(card, encoding="utf-8")
    load_manifest(partial)


def _words_of(about: Mapping[str, Any]) -> dict[str, Any]:
    names = ("description", "consent", "deidentification", "citation")
    return {f"corpus, {name}": about[name] for name in names if name in about}


def _check_name(name: str) -> None:
    if name != name.strip() or not name.isprintable() or len(name) > 96:
        raise ReleaseFormatError(
            f"name: expected one line of at most 96 characters, found {name[:96]!r}; give another."
        )


def _check_texts(fields: Mapping[str, Any]) -> None:
    if faults := field_faults(fields):
        raise ReleaseFormatError(f"{'; '.join(faults)}. Write it otherwise.")


def _told_faults(
    own: str, base: str, sources: Iterable[Mapping[str, Any]], are_accepted: bool
) -> tuple[str, ...]:
    """What the card has to say of licences that are unknown or in conflict, where that is accepted."""
    faults = licence_faults(own, base, sources)
    if faults and not are_accepted:
        raise ReleaseFormatError(
            f"{'; '.join(fault.error for fault in faults)}. State what is not (--base-license, --data-license), "
            "choose another license for the release, or accept it (--accept-licences): the card will say so."
        )
    return tuple(fault.told for fault in faults)


def _base_licence(run: RunFolder, own: str, include_base: bool) -> str:
    """As the base's own card states it; a base that exists nowhere else has that of the release."""
    from chatdoctor_hub.cards import header_of

    card = Path(run.manifest.base.path) / CARD
    try:
        stated = header_of(card.read_text(encoding="utf-8")).get("license")
    except (OSError, ValueError):
        stated = None
    if isinstance(stated, str) and stated:
        return stated
    return own if include_base and own != "other" else ""


def _base(run: RunFolder, licence: str, is_included: bool) -> BaseModelRecord:
    base, place = run.manifest.base, base_place(run)
    return BaseModelRecord(
        id=place.id,
        path="base" if is_included else "",
        revision=place.revision,
        licence=licence,
        digest=base.digest,
        parameters=base.parameters,
        model_type=base.model_type,
    )


def _time_of(run: RunFolder) -> str:
    """When the run ended: the time of the release would make each a new one."""
    ended = (run.path / RECORD).stat().st_mtime
    return datetime.fromtimestamp(ended, timezone.utc).isoformat(timespec="seconds")


def _training(run: RunFolder) -> dict[str, Any]:
    made = run.manifest
    return {
        "trained_parameters": made.trained_parameters,
        "steps": made.steps,
        "tokens": made.tokens,
        "seconds": made.seconds,
        "precision": made.precision,
        "workers": made.workers,
        "device": made.device,
        **course_of(run.metrics, made.validation_loss, made.best_step),
    }


def _write_tokenizer(run: RunFolder, out: Path) -> None:
    pair = PromptPair.from_record(run.manifest.prompt, str(run.path / "run.json"))
    tokenizer = load_tokenizer(run.tokenizer)
    tokenizer.chat_template = {
        "default": pair.serving_template(tokenizer),
        "training": pair.training_template(tokenizer),
    }
    tokenizer.save_pretrained(out)
    for name in (SERVING_TEMPLATE, TRAINING_TEMPLATE):
        if not (out / name).is_file():
            raise ReleaseFormatError(
                f"{out / name}: expected the tokenizer to save this chat template, found none; update transformers."
            )


def _earlier(out: Path) -> tuple[str, str]:
    """The card of the release that is there, "" where there is none, and the name it was given."""
    try:
        card = (out / CARD).read_text(encoding="utf-8")
        name = json.loads((out / MANIFEST).read_text(encoding="utf-8")).get("name", "")
    except (OSError, ValueError, AttributeError):
        return "", ""
    return card, str(name)


def _carry_over(out: Path, new: Path) -> None:
    """Files in the place of the release that the one before did not make are somebody's, and stay."""
    try:
        own = set(json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, LookupError, TypeError):
        own = set()
    own |= {MANIFEST, CARD, BASE_HERE}
    for file in sorted(out.rglob("*")):
        name = file.relative_to(out)
        is_kept = file.is_symlink() or file.is_file()
        if is_kept and name.as_posix() not in own and not (new / name).exists():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, new / name, follow_symlinks=False)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
