"""The grammars themselves, in llguidance's dialect of Lark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chatdoctor_hub.inference.grammar.schemas import narrowed
from chatdoctor_hub.inference.grammar.vocabulary import Vocabulary

__all__ = ["call_grammar", "schema_grammar"]


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """JSON that satisfies a schema, and nothing before or after it.

    Raises:
        ConfigError: when it is no JSON schema.
    """
    return f"start: %json {json.dumps(narrowed(schema))}\n"


def call_grammar(
    vocabulary: Vocabulary,
    calls: Sequence[tuple[str, Mapping[str, Any], str]],
    around: tuple[str, str, str],
    most: int,
) -> str:
    """One or more calls of tools.

    Args:
        vocabulary: of the model.
        calls: for each tool what stands before its arguments, their JSON schema, and what stands after.
        around: what stands before the first call, between two, and after the last.
        most: the number of calls.

    Raises:
        ConfigError: when the parameters of a tool are no JSON schema.
    """
    before, between, after = (vocabulary.literal(text) for text in around)
    again = f" ({between} call){{0,{most - 1}}}" if most > 1 else ""
    lines = [
        f"start: {before} call{again} {after}",
        "call: " + " | ".join(f"call_{number}" for number in range(len(calls))),
    ]
    for number, (head, schema, tail) in enumerate(calls):
        arguments = json.dumps(narrowed(_object(schema), f"the parameters of tool {number}"))
        lines.append(
            f"call_{number}: {vocabulary.literal(head)} args_{number} {vocabulary.literal(tail)}\n"
            f"args_{number}: %json {arguments}"
        )
    return "\n".join(lines) + "\n"


def _object(schema: Any) -> Any:
    """Arguments are always an object, whether or not the schema says so."""
    if isinstance(schema, Mapping) and "type" not in schema and not {"$ref", "anyOf", "oneOf"} & set(schema):
        return {**schema, "type": "object", "properties": schema.get("properties", {})}
    return schema
