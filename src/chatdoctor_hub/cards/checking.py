"""The checks of a card that do not depend on what it is a card of."""

from __future__ import annotations

from collections.abc import Mapping

from chatdoctor_hub.cards.blocks import header_of, parts_of, split_header
from chatdoctor_hub.cards.claims import find_claims, find_placeholders, sections_of

__all__ = ["NOTICE", "card_faults", "field_faults"]

NOTICE = "notice"
"""The block at the top that says what it is not."""


def card_faults(card: str, sections: tuple[str, ...], blocks: tuple[str, ...] = (NOTICE,)) -> list[str]:
    """What is wrong with a card, each as "where: expected …, found …".

    Args:
        card: Markdown with a YAML header.
        sections: headings that must stand there, with something under them.
        blocks: generated blocks that must stand there.
    """
    try:
        header, parts = header_of(card), parts_of(card)
    except ValueError as error:
        return [f"expected a card as it was written, found {error}"]
    body = split_header(card)[1]
    above = card.replace("\r\n", "\n").count("\n") - body.count("\n")
    faults = [] if header else ["expected a YAML header, found none"]
    found = sections_of(body)
    for name in sections:
        if name not in found:
            faults.append(f"expected the section {name!r}, found none of that name")
        elif not found[name]:
            faults.append(f"section {name!r}: expected text, found none")
    names = {part.block for part in parts}
    faults += [f"expected the generated block {name!r}, found none" for name in blocks if name not in names]
    generated = [range(part.line, part.line + part.text.count("\n") + 1) for part in parts if part.block]
    for finding in [*find_placeholders(body), *find_claims(body)]:
        line = finding.line + above
        # What is generated holds no claim: it names what a model is not for.
        if finding.kind != "a placeholder" and any(line in lines for lines in generated):
            continue
        where = f"section {finding.section!r}, line {line}" if finding.section else f"line {line}"
        faults.append(f"{where}: expected no {finding.kind.removeprefix('a ')}, found {finding.words!r}")
    return faults + field_faults({f"header field {key!r}": value for key, value in header.items()})


def field_faults(fields: Mapping[str, object]) -> list[str]:
    """Placeholders and claims in texts that people gave.

    Args:
        fields: name -> text, or a list or mapping of texts; anything else is passed over.
    """
    faults = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            faults += field_faults({f"{name}, {key}": item for key, item in value.items()})
        elif isinstance(value, (list, tuple)):
            faults += field_faults({f"{name}, {number}": item for number, item in enumerate(value, 1)})
        elif isinstance(value, str):
            faults += [
                f"{name}: expected no {finding.kind.removeprefix('a ')}, found {finding.words!r}"
                for finding in [*find_placeholders(value), *find_claims(value)]
            ]
    return faults
