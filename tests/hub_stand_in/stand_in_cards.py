"""The Hub's check of a card's YAML, as far as its rules are known."""

from __future__ import annotations

import re
from typing import Any

import yaml

_KNOWN = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "
    "bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc "
    "cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 "
    "cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 "
    "eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c "
    "ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa "
    "unlicense zlib pddl lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 "
    "llama3.2 llama3.3 llama4 gemma unknown other"
)
LICENSES = frozenset(_KNOWN.split())
LISTS_OF_WORDS = ("tags", "datasets", "metrics")


def front_matter(content: str) -> dict[str, Any]:
    """The YAML block at the head of a card; empty when there is none. Never raises."""
    try:
        return _read(content)
    except (yaml.YAMLError, ValueError):
        return {}


def _read(content: str) -> dict[str, Any]:
    match = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", content, re.DOTALL)
    found = yaml.safe_load(match[1]) if match else {}
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError("the metadata must be a mapping")
    return found


def check(content: str, kind: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Errors and warnings on a card."""
    try:
        card = _read(content)
    except (yaml.YAMLError, ValueError) as problem:
        return [{"message": f"YAML Metadata Error: {str(problem).splitlines()[0]}"}], []
    if not card:
        return [], [{"message": "empty or missing yaml metadata in repo card"}]
    return [{"message": message} for message in _errors(card, kind)], []


def _errors(card: dict[str, Any], kind: str) -> list[str]:
    bases = _listed(card.get("base_model")) if kind == "model" else []
    kinds = ("configs", "dataset_info") if kind == "dataset" else ()
    found = [
        *(
            f'"license" must be one of the known licences, found {x!r}'
            for x in _listed(card.get("license"))
            if x not in LICENSES
        ),
        *(
            f'"language" must be an ISO 639 code, found {x!r}'
            for x in _listed(card.get("language"))
            if not _is_language(x)
        ),
        *(f'"base_model" must be the id of a model on the Hub, found {x!r}' for x in bases if not _is_id(x)),
        *(f'"{key}" must be an array of strings' for key in LISTS_OF_WORDS if not _are_words(card.get(key))),
        *(f'"{key}" must be an array' for key in kinds if not isinstance(card.get(key, []), (list, dict))),
    ]
    if kind == "model" and card.get("model-index") is not None:
        found.extend(_index_errors(card["model-index"]))
    return found


def _is_language(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]+)?|code|multilingual", value))


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", value))


def _are_words(value: Any) -> bool:
    return all(isinstance(entry, (str, dict)) for entry in _listed(value))


def _index_errors(index: Any) -> list[str]:
    if not isinstance(index, list) or not all(
        isinstance(entry, dict) and entry.get("name") for entry in index
    ):
        return ['"model-index" must be an array of objects with a "name"']
    found = []
    for place, entry in enumerate(index):
        for number, result in enumerate(entry.get("results") or ()):
            where = f'"model-index[{place}].results[{number}]'
            if not (result.get("task") or {}).get("type"):
                found.append(f'{where}.task.type" is required')
            if not all((result.get("dataset") or {}).get(key) for key in ("name", "type")):
                found.append(f'{where}.dataset" needs a name and a type')
            if not all(
                isinstance(m, dict) and m.get("type") and "value" in m for m in result.get("metrics") or ()
            ):
                found.append(f'{where}.metrics" needs a type and a value each')
    return found


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def tags(card: dict[str, Any]) -> list[str]:
    """The tags that the Hub draws from a card."""
    found = [str(card["library_name"])] if "library_name" in card else []
    found += [str(entry) for key in ("tags", "language") for entry in _listed(card.get(key))]
    for key, name in (("license", "license"), ("datasets", "dataset"), ("base_model", "base_model")):
        found += [f"{name}:{entry}" for entry in _listed(card.get(key))]
    return [*dict.fromkeys([*found, "region:us"])]
