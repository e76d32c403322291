"""Where the dialogues of a run come from, under which terms, and what was done for the people in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatdoctor_hub.cards import find_licence
from chatdoctor_hub.corpus import SourceConfig
from chatdoctor_hub.corpus.reading.published import Provenance, published_sets
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = ["describe_data", "read_corpus_file"]

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_RECORD = "corpus.json"
_TEXTS = ("description", "consent", "deidentification", "licence", "url", "citation")
_OF_PEOPLE = ("description", "consent", "deidentification")


def read_corpus_file(file: Path) -> dict[str, Any]:
    """A file with more about the dialogues: JSON or YAML, or the `corpus.json` of a corpus.

    Keys: description, consent, deidentification, licence, url, citation (texts), languages (a list of codes) and
    sources (a list of records with name, licence, url).

    Raises:
        DataNotFoundError: when it cannot be read.
        DataFormatError: when it is something else.
    """
    import yaml

    if file.is_dir():
        file = file / _RECORD
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataNotFoundError(
            f"{file}: expected a file that describes the dialogues, found none that can be read; check the path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataFormatError(
            f"{file}: expected JSON or YAML that describes the dialogues, found something else; correct it."
        ) from error
    if isinstance(found, dict) and "schema_version" in found:
        return _of_corpus(found)
    return _description(found, str(file))


def describe_data(
    configs: Sequence[SourceConfig], given: Mapping[str, Any], licence: str = ""
) -> dict[str, Any]:
    """What is known of the dialogues of a run beyond its own counts: "sources", "languages" and, where somebody
    stated them, texts such as "description", "consent" and "deidentification".

    What a caller gives goes first, then the records of corpus folders as they are now.

    Args:
        configs: of the recipe.
        given: what `read_corpus_file` gives.
        licence: of the sources of which none is known.

    Raises:
        DataFormatError: naming the field of what was given.
    """
    given = _description(given, "corpus") | ({"licence": licence} if licence else {})
    records = [_corpus_record(Path(config.path)) for config in configs]
    described: dict[str, str] = {}
    for name in _OF_PEOPLE:
        texts = [_texts_of(record or {}).get(name, "") for record in records]
        # A text of one source would be taken for one of all.
        if len(set(texts)) == 1 and texts[0]:
            described[name] = texts[0]
    about = described | given
    return {
        **about,
        "sources": _sources(configs, given),
        "deidentification": str(about.get("deidentification") or "") or _deidentification(records),
        "languages": _languages([given, *(record or {} for record in records)]),
    }


def _description(found: Any, where: str) -> dict[str, Any]:
    """A description of the dialogues that somebody gave, checked.

    Raises:
        DataFormatError: naming the field.
    """
    faults = []
    if not isinstance(found, Mapping):
        raise DataFormatError(
            f"{where}: expected a mapping that describes the dialogues, found {type(found).__name__}; write "
            "'description: …'."
        )
    for key, value in found.items():
        if key in _TEXTS and not isinstance(value, str):
            faults.append(f"{key}: expected text, found {type(value).__name__}")
    sources = found.get("sources", [])
    if not isinstance(sources, Sequence) or not all(
        isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in sources
    ):
        faults.append("sources: expected a list of records with a name, found something else")
    languages = found.get("languages", [])
    if not isinstance(languages, list) or not all(isinstance(code, str) for code in languages):
        faults.append("languages: expected a list of codes, found something else")
    if faults:
        raise DataFormatError(f"{where}: {'; '.join(faults)}; correct it.")
    return dict(found)


def _sources(configs: Sequence[SourceConfig], given: Mapping[str, Any]) -> list[dict[str, str]]:
    """The sources of a run's dialogues with licence, address and, from the Hub, commit.

    What the recipe says goes first, then the record of a corpus folder as it is now, then what is known of
    published sets; the licence that a caller gives stands for those of which none is known. Only the last part of
    a path is told.

    Args:
        configs: of the recipe.
        given: what `read_corpus_file` gives.
    """
    found = [_plain(item) for item in given.get("sources", ())] or _found_sources(configs)
    licence, url = (str(given.get(name) or "") for name in ("licence", "url"))
    for source in found:
        if licence and find_licence(source["licence"]) is None:
            source["licence"] = licence
        source["url"] = source["url"] or url
    return found


def _found_sources(configs: Sequence[SourceConfig]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for config in configs:
        of_corpus = _corpus_record(Path(config.path))
        stated = config.licence or ""
        if of_corpus and not stated:
            named = [_plain(item) for item in of_corpus["sources"]]
            whole = str(of_corpus.get("licence") or "")
            found += [
                item | ({"licence": item["licence"] or whole} if whole != "unknown" else {}) for item in named
            ]
            continue
        is_from_hub = not Path(config.path).exists() and bool(_HUB_ID.fullmatch(config.path))
        told = _published(config)
        found.append(
            {
                "name": config.path if is_from_hub else Path(config.path).name,
                "licence": stated or (told.licence if told else ""),
                "url": told.url if told else "",
                "revision": config.revision or "",
                "hub_id": config.path if is_from_hub else "",
            }
        )
    return found


def _deidentification(records: Sequence[Mapping[str, Any] | None]) -> str:
    """A sentence on whether names and numbers of people were replaced."""
    done = [((record or {}).get("config") or {}).get("deidentify") for record in records]
    if done and all(done):
        return (
            "names, numbers and addresses that the rules of chatdoctor-hub know were replaced by placeholders; "
            "rules miss things, so this is no anonymisation."
        )
    if any(done):
        return "done for a part of the data only; see the sources."
    if done and all(item is False for item in done):
        return "none was done; names, numbers and addresses stand as they stood in the sources."
    return "not recorded; names, numbers and addresses of people may stand in the data."


def _published(config: SourceConfig) -> Provenance | None:
    sets = published_sets()
    if config.adapter in sets:
        return sets[str(config.adapter)].provenance
    return next((one.provenance for one in sets.values() if one.hub and one.hub == config.path), None)


def _languages(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Codes of the languages of the dialogues, as far as they are recorded; the first is the main one."""
    return list(dict.fromkeys(code for record in records for code in record.get("languages") or ()))


def _plain(item: Mapping[str, Any] | str) -> dict[str, str]:
    item = item if isinstance(item, Mapping) else {"name": item}
    names = ("name", "licence", "url", "revision", "hub_id")
    return {name: str(item.get(name) or "") for name in names}


def _corpus_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("sources"), list) else None


def _texts_of(record: Mapping[str, Any]) -> dict[str, str]:
    """What the maker of a corpus wrote into its record."""
    extra = record.get("extra") or {}
    return {name: extra[name] for name in _OF_PEOPLE if isinstance(extra.get(name), str)}


def _of_corpus(record: Mapping[str, Any]) -> dict[str, Any]:
    config = record.get("config") or {}
    licence = str(record.get("licence") or "")
    known = "" if licence == "unknown" else licence
    plain = [_plain(item) for item in record.get("sources", [])]
    found: dict[str, Any] = {"sources": [item | {"licence": item["licence"] or known} for item in plain]}
    found |= _texts_of(record)
    if record.get("languages"):
        found["languages"] = list(record["languages"])
    if config.get("deidentify") is not None and "deidentification" not in found:
        found["deidentification"] = (
            "the rules of chatdoctor-hub were applied; rules miss things, so this is no anonymisation."
            if config["deidentify"]
            else "none was done."
        )
    return found
