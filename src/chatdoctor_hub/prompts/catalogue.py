"""The catalogue: the prompt pairs that ship with the package, the templates of PTST, and files of one's own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import MissingExtraError, PromptError, UnknownPromptError
from chatdoctor_hub.prompts.shape import Shape

__all__ = ["catalogue", "is_fixed", "known_safety_prompts", "read_pair"]

_ARROW = "->"
_FILES = (".yaml", ".yml")
_TEXTS = ("id", "instruction", "safety", "layout", "source")
_SHAPE = ("wrapping", "plain")
# By themselves these stand for chat:vanilla, served with their safety prompt.
_SAFE = ("chat:llama", "chat:llama-short", "chat:mpt")


@cache
def _pair_ids() -> tuple[str, ...]:
    names = (file.name for file in resources.files("chatdoctor_hub.prompts").joinpath("data").iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if "@" in name))


@cache
def _templates() -> dict[str, Any]:
    loaded: dict[str, Any] = _packaged("templates")
    return loaded


def _packaged(name: str) -> Any:
    import yaml

    file = resources.files("chatdoctor_hub.prompts").joinpath("data").joinpath(f"{name}.yaml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def catalogue() -> tuple[str, ...]:
    """The ids of all prompt pairs that ship with the package: its own ("chatdoctor@1") and PTST's templates."""
    return tuple(sorted((*_pair_ids(), *_templates()["templates"])))


@cache
def known_safety_prompts() -> tuple[str, ...]:
    """The safety prompts of the catalogue; Llama 2's only where transformers is installed."""
    found = []
    for id in catalogue():
        try:
            found.append(read_pair(id)["safety"])
        except MissingExtraError:
            continue
    return tuple(dict.fromkeys(found))


def is_fixed(id: str) -> bool:
    """Whether what `read_pair` gives for this id cannot change: no part of it is a file of one's own."""
    return not any(part.strip().endswith(_FILES) for part in id.split(_ARROW, 1))


def read_pair(id: str) -> dict[str, Any]:
    """The fields of a `PromptPair`, by what people call it.

    Args:
        id: an id of the catalogue; the path of a YAML file (.yaml, .yml) of one's own; or "A -> B", tuned
            under the training form of A and served under the serving form of B.

    Raises:
        UnknownPromptError: for anything else, naming the near ones.
        PromptError: when a file of one's own has faults.
        MissingExtraError: for Llama 2's safety prompt without transformers.
    """
    if _ARROW in id:
        return _crossed(*(part.strip() for part in id.split(_ARROW, 1)))
    if id.endswith(_FILES):
        return _own(Path(id).expanduser())
    if id in _templates()["templates"]:
        return _template(id)
    if id not in _pair_ids():
        near = difflib.get_close_matches(id, catalogue(), n=1, cutoff=0.4)
        raise UnknownPromptError(
            f"Expected the id of a prompt pair ({', '.join(catalogue())}), the path of a YAML file, or two of "
            f"them as 'A -> B', found {id!r}; "
            + (f"did you mean {near[0]!r}?" if near else "use one of these.")
        )
    return _fields(_packaged(id), f"prompt {id}")


def _crossed(training: str, serving: str) -> dict[str, Any]:
    if _ARROW in serving:
        raise UnknownPromptError(
            f"Expected two prompt pairs as 'A -> B', found a further arrow in {serving!r}; name one to serve under."
        )
    first, second = read_pair(training), read_pair(serving)
    served = second.get("serving_instruction")
    return {
        **first,
        "id": f"{first['id']} -> {second['id']}",
        # Named before the arrow, a safety prompt is meant to be tuned under: `fine_tune` refuses it unless allowed.
        "instruction": first["safety"] if training in _SAFE else first["instruction"],
        "safety": second["safety"],
        "layout": first["layout"] or second["layout"],
        "source": f"Tuned under {first['id']}: {first['source']} Served under {second['id']}: {second['source']}",
        "serving_instruction": second["instruction"] if served is None else served,
        "serving_shape": second["serving_shape"],
    }


def _template(id: str) -> dict[str, Any]:
    everything = _templates()
    found = everything["templates"][id]
    safety = found.get("safety", everything["safety"])
    shape = Shape(**found["shape"])
    return {
        "id": id,
        "instruction": found.get("instruction", ""),
        "safety": _of_llama_2(short=safety.endswith("short")) if safety.startswith("llama-2") else safety,
        "layout": "",
        "source": " ".join(part for part in (everything["source"], found.get("source")) if part),
        "training_shape": shape,
        "serving_shape": shape,
    }


def _of_llama_2(*, short: bool) -> str:
    """The default system prompt of Llama 2 (arXiv 2307.09288, appendix A.3), or its first two sentences."""
    try:
        from transformers.models.llama.tokenization_llama import DEFAULT_SYSTEM_PROMPT
    except ImportError as error:
        raise MissingExtraError("transformers", "local") from error
    text = str(DEFAULT_SYSTEM_PROMPT).strip()
    return " ".join(re.split(r"(?<=\.)\s+", text)[:2]) if short else text


def _own(file: Path) -> dict[str, Any]:
    import yaml

    try:
        return _fields(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))
    except OSError as error:
        raise UnknownPromptError(
            f"{file}: expected a prompt pair in YAML, found no such file; check the path."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise PromptError(
            f"{file}: expected a prompt pair in YAML, found something else; mend it."
        ) from error


def _fields(record: Any, where: str) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise PromptError(f"{where}: expected fields ({', '.join(_TEXTS)}), found none; write them down.")
    faults = [f"{name}: expected a text" for name in ("id", "safety") if not record.get(name)]
    faults += [f"{name}: expected a text" for name in _TEXTS if not isinstance(record.get(name, ""), str)]
    faults += [f"{name}: no such field" for name in record if name not in (*_TEXTS, "training", "serving")]
    shapes, instruction = {"training_shape": Shape(), "serving_shape": Shape()}, None
    for form, allowed in (("training", _SHAPE), ("serving", (*_SHAPE, "instruction"))):
        given = record.get(form) or {}
        if not isinstance(given, Mapping) or set(given) - set(allowed):
            faults.append(f"{form}: expected {', '.join(allowed)}")
            continue
        instruction = given.get("instruction")
        if not isinstance(instruction, (str, type(None))) or not isinstance(given.get("plain", False), bool):
            faults.append(f"{form}: expected texts, and plain: true or false")
            continue
        try:
            shapes[f"{form}_shape"] = Shape(**{name: given[name] for name in _SHAPE if name in given})
        except PromptError as error:
            faults.append(f"{form}: {str(error).partition(';')[0].replace('Expected', 'expected')}")
    if faults:
        raise PromptError(f"{where}: found {'; '.join(dict.fromkeys(faults))}; mend the prompt pair.")
    return {
        **{name: record.get(name, "") for name in _TEXTS},
        **shapes,
        **({} if instruction is None else {"serving_instruction": instruction}),
    }
