"""Passwords, tokens and keys in files, found by their published forms; what is found is never repeated.

`detect-secrets` was looked at: it has no rule for the Hub's own tokens and reads neither Parquet nor the headers
of safetensors. The forms here are those that the issuers document for secret scanning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["credentials_in", "credentials_in_text"]


@dataclass(frozen=True)
class _Form:
    kind: str
    marks: tuple[bytes, ...]
    """One of these stands in every match; a quick look for them spares the pattern."""
    pattern: re.Pattern[bytes]


def _form(kind: str, marks: str, pattern: str, flags: int = 0) -> _Form:
    return _Form(kind, tuple(marks.encode().split()), re.compile(pattern.encode(), flags))


_FORMS = (
    _form("Hugging Face token", "hf_ api_org_", r"\b(?:hf_(?:oauth_|app_|jwt_)?|api_org_)[A-Za-z0-9]{30,}"),
    _form("AWS access key", "AKIA ASIA ABIA ACCA", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    _form(
        "AWS secret key",
        "secret SECRET Secret",
        r"aws.{0,20}secret.{0,20}[\s\"'=:]+[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
        re.IGNORECASE,
    ),
    _form("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\b(?:gh[pousr]_|github_pat_)\w{36,}"),
    _form("GitLab token", "glpat-", r"\bglpat-[\w-]{20,}"),
    _form(
        "OpenAI-style key",
        "sk-",
        r"(?<![A-Za-z0-9])sk-(?:(?:proj|svcacct|admin|or-v1|ant-[a-z]{2,6}\d\d)-)?(?=[\w-]{0,31}\d)[\w-]{32,}",
    ),
    _form("Google key", "AIza ya29.", r"\b(?:AIza[\w-]{35}|ya29\.[\w-]{30,})"),
    _form("Slack token", "xox xapp-", r"\b(?:xox[abeoprs]|xapp)-[\w-]{10,}"),
    _form("Stripe key", "_live_", r"\b[sr]k_live_[A-Za-z0-9]{20,}"),
    _form("PyPI token", "pypi-", r"\bpypi-AgE[\w-]{50,}"),
    _form("Weights & Biases key", "wandb WANDB", r"wandb.{0,20}key[\s\"'=:]+[0-9a-f]{40}\b", re.IGNORECASE),
    _form("signed web token", "eyJ", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    _form("private key", "PRIVATE", r"-----BEGIN (?:[A-Z]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----"),
    _form(
        "password in an address",
        "://",
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{1,64}:[^\s/:@\"'{<$]{6,128}@",
    ),
)
_BLOCK = 1 << 20
_OVERLAP = 2048  # no form needs more to be told, in UTF-32 either


def credentials_in_text(text: bytes) -> Counter[str]:
    """How many of each kind stand in a text.

    Args:
        text: bytes of UTF-8, of UTF-16 or of anything else.
    """
    found: Counter[str] = Counter()
    for form in _FORMS:
        if any(mark in text for mark in form.marks):
            found[form.kind] += sum(1 for _ in form.pattern.finditer(text))
    # In UTF-16 and UTF-32 the letters of a token are apart, with zeros between them.
    return found | credentials_in_text(text.replace(b"\0", b"")) if b"\0" in text else +found


def credentials_in(file: Path) -> Counter[str]:
    """How many of each kind stand in a file; in Parquet its words, in safetensors its header.

    Raises:
        MissingExtraError: for Parquet without pyarrow.
    """
    found: Counter[str] = Counter()
    for text in _texts(file):
        found += credentials_in_text(text)
    return found


def _texts(file: Path) -> Iterator[bytes]:
    if file.suffix == ".parquet":
        yield from _words_of_parquet(file)
        return
    with file.open("rb") as opened:
        if file.suffix == ".safetensors":
            # Eight bytes say how long the header is; numbers follow, in which there are no words.
            yield opened.read(min(int.from_bytes(opened.read(8), "little"), 100 << 20))
            return
        kept = b""
        while block := opened.read(_BLOCK):
            text = kept + block
            # What stands across the border is seen with the next block, and only there.
            border = len(text) - _OVERLAP if len(block) == _BLOCK else len(text)
            cut = text.rfind(b"\n", 0, border) + 1 or text.rfind(b" ", 0, border) + 1 or border
            yield text[:cut]
            kept = text[cut:]
        yield kept


def _words_of_parquet(file: Path) -> Iterator[bytes]:
    from chatdoctor_hub.corpus.shards import parquet

    _, pq = parquet()
    opened = pq.ParquetFile(file)
    for key, value in (opened.schema_arrow.metadata or {}).items():
        yield key + b"\n" + value
    for batch in opened.iter_batches(batch_size=1024):
        words = (word for column in batch.columns for word in _words(column))
        yield b"\n".join(word if isinstance(word, bytes) else word.encode() for word in words)


def _words(column: pa.Array) -> Iterator[Any]:
    """The strings in a column, however deep they lie."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _words(column.dictionary_decode())
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _words(part)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _words(column.flatten())
    elif pa.types.is_map(kind):
        yield from _words(column.keys)
        yield from _words(column.items)
    elif any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)):
        yield from (word for word in column.to_pylist() if word)
