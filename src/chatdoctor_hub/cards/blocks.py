"""Cards that people may edit: what is generated lies between marks, and only that is rewritten.

<!-- chatdoctor:begin evaluation -->
…
<!-- chatdoctor:end evaluation -->
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

__all__ = ["Part", "header_of", "header_text", "human_text", "keep_edits", "parts_of", "split_header"]

_MARK = re.compile(r"^[ \t]*<!-- chatdoctor:(begin|end) ([\w-]+) -->[ \t]*$", re.MULTILINE)
_HEADER = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*\n", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"^# .*\n?", re.MULTILINE)


class Part(NamedTuple):
    """A stretch of a card.

    Args:
        block: its name where it is generated, marks included; "" for what is anybody's.
        text: as it stands there.
        line: the first line of it, from 1.
    """

    block: str
    text: str
    line: int


def split_header(card: str) -> tuple[str, str]:
    """The YAML between the first two `---` lines, "" where there is none, and what follows them."""
    card = card.replace("\r\n", "\n")
    found = _HEADER.match(card)
    return (found[1], card[found.end() :]) if found else ("", card)


def header_of(card: str) -> dict[str, Any]:
    """The YAML header of a card as a mapping.

    Raises:
        ValueError: when it is no YAML mapping.
    """
    import yaml

    try:
        header = yaml.safe_load(split_header(card)[0]) or {}
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise ValueError(f"a YAML header that cannot be read (line {(line or 0) + 2})") from error
    if not isinstance(header, dict):
        raise ValueError("a YAML header that is no mapping")
    return {str(key): value for key, value in header.items()}


def header_text(header: Mapping[str, Any]) -> str:
    """A mapping as the YAML of a header."""
    import yaml

    return str(yaml.safe_dump(dict(header), sort_keys=False, allow_unicode=True)).strip()


def parts_of(card: str) -> list[Part]:
    """A card, less its header, in generated and other parts; put together again they are the card.

    Raises:
        ValueError: when a mark stands alone, is within another block, or a block stands twice.
    """
    body = split_header(card)[1]
    before = card.replace("\r\n", "\n").count("\n") - body.count("\n")

    def line_of(position: int) -> int:
        return before + body.count("\n", 0, position) + 1

    parts: list[Part] = []
    names: set[str] = set()
    open_name, start = "", 0
    for mark in _MARK.finditer(body):
        kind, name, line = mark[1], mark[2], line_of(mark.start())
        if kind == "begin" and (open_name or name in names):
            where = f"within the block {open_name!r}" if open_name else "a second time"
            raise ValueError(f"the mark 'begin {name}' {where} (line {line})")
        if kind == "end" and name != open_name:
            raise ValueError(f"the mark 'end {name}' without its begin (line {line})")
        if kind == "begin":
            if mark.start() > start:
                parts.append(Part("", body[start : mark.start()], line_of(start)))
            open_name, start = name, mark.start()
            names.add(name)
        else:
            parts.append(Part(name, body[start : mark.end()], line_of(start)))
            open_name, start = "", mark.end()
    if open_name:
        raise ValueError(f"the mark 'begin {open_name}' without its end (line {line_of(start)})")
    if start < len(body):
        parts.append(Part("", body[start:], line_of(start)))
    return parts


def human_text(card: str) -> list[Part]:
    """What lies outside the generated blocks."""
    return [part for part in parts_of(card) if not part.block]


def keep_edits(fresh: str, earlier: str, *, own: Collection[str], earlier_name: str = "") -> str:
    """The earlier card with its generated blocks as they are in the fresh one.

    What stands outside the blocks stays; a block that is new comes after the one that it follows in the fresh
    card; one that is no longer made goes. Of the header, keys that are not `own` stay, and so do added tags.

    Args:
        fresh: a card as it was just rendered.
        earlier: the card that was there.
        own: keys of the header that are generated.
        earlier_name: the title that an earlier run gave it, replaced by the new one; another title stays.

    Raises:
        ValueError: when the earlier card's header or marks are broken, or it has no marks at all.
    """
    old_parts, new_parts = parts_of(earlier), parts_of(fresh)
    if not any(part.block for part in old_parts):
        raise ValueError("a card without the marks of generated blocks")
    made = {part.block: part.text for part in new_parts if part.block}
    kept = [
        part if not part.block else part._replace(text=made[part.block])
        for part in old_parts
        if not part.block or part.block in made
    ]
    texts = [[part.block, part.text] for part in kept]
    before = ""
    for name, text in made.items():
        names = [block for block, _ in texts]
        if name not in names:
            at = names.index(before) + 1 if before else _below_title(texts)
            texts[at:at] = [["", "\n\n"], [name, text]] if before else [[name, text], ["", "\n\n"]]
        before = name
    body = "".join(text for _, text in texts)
    if earlier_name and (title := _TITLE.search(body)) and title[0].strip() == f"# {earlier_name}":
        new_title = _TITLE.search(split_header(fresh)[1])
        body = body[: title.start()] + (new_title[0] if new_title else "") + body[title.end() :]
    return f"---\n{header_text(_headers(header_of(fresh), header_of(earlier), own))}\n---\n{body}"


def _below_title(texts: list[list[str]]) -> int:
    """Where the first block goes: after the part that begins with the title, cut behind it."""
    for number, (block, text) in enumerate(texts):
        if not block and (title := _TITLE.search(text)):
            texts[number : number + 1] = [
                ["", text[: title.end()] + "\n"],
                ["", text[title.end() :].lstrip("\n")],
            ]
            return number + 1
    return 0


def _headers(fresh: Mapping[str, Any], earlier: Mapping[str, Any], own: Collection[str]) -> dict[str, Any]:
    header = {**fresh, **{key: value for key, value in earlier.items() if key not in own}}
    if isinstance(earlier.get("tags"), list) and isinstance(header.get("tags"), list):
        generated = {"lora", "series", "parallel", "prefix", "ptst", "medical", "dialogue", "chatdoctor-hub"}
        header["tags"] = [
            *header["tags"],
            *(tag for tag in earlier["tags"] if tag not in header["tags"] and tag not in generated),
        ]
    return header
