"""A tokenizer as GGUF holds it: tokens, their types, and merges or scores."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ModelFormatError

__all__ = ["GgufTokens"]

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\u2581"
# What llama.cpp calls a way to cut text before it is merged, by what it makes of this text.
_PROBE = "we'LL it's (cash) 12345  x!\n\ny"
_CUTS = {
    ("we", "'", "LL", " it", "'s", " (", "cash", ")", " 12345", " ", " x", "!", "\n", "\n", "y"): "gpt-2",
    ("we", "'LL", " it", "'s", " (", "cash", ")", " ", "123", "45", " ", " x", "!\n\n", "y"): "llama-bpe",
    ("we", "'LL", " it", "'s", " (", "cash", ")", " ", *"12345", " ", " x", "!\n\n", "y"): "qwen2",
}


@dataclass(frozen=True)
class GgufTokens:
    """The vocabulary of a tokenizer.

    Args:
        model: "gpt2" for byte-level BPE, "llama" for SentencePiece's.
        pre: how text is cut before it is merged, as llama.cpp names it.
        tokens: by id, as many as the model has rows.
        types: of each token, GGUF's numbers.
        merges: of byte-level BPE, "left right".
        scores: of SentencePiece, the higher the earlier it is merged.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()

    @classmethod
    def of(cls, tokenizer: Any, rows: int, where: Path) -> GgufTokens:
        """Read a fast tokenizer.

        Args:
            tokenizer: of transformers.
            rows: of the model's embedding.
            where: its folder, for messages.

        Raises:
            ModelFormatError: when it is of another kind, or cuts text in a way llama.cpp has no name for.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        made = json.loads(backend.to_str()) if backend is not None else {}
        model = made.get("model") or {}
        if model.get("type") != "BPE":
            raise ModelFormatError(
                f"{where}: expected a BPE tokenizer, byte-level or SentencePiece's, found "
                f"{model.get('type') or 'a slow one'}; use llama.cpp's own converter."
            )
        if len(tokenizer) > rows:
            raise ModelFormatError(
                f"{where}: expected a tokenizer of at most {rows} tokens, found {len(tokenizer)}; the tokenizer "
                "belongs to another model."
            )
        merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
        tokens, types = _tokens(model, made.get("added_tokens") or (), rows, tokenizer.unk_token)
        if model.get("byte_fallback"):
            scores = _scores(tokens, merges)
            return cls("llama", "default", tokens, types, scores=scores)
        joined = tuple(" ".join(pair) for pair in merges)
        return cls("gpt2", _cut_of(backend, where), tokens, types, merges=joined)

    def write(self, writer: Any, tokenizer: Any) -> None:
        """Into a `GGUFWriter`, with the ids of special tokens."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(list(self.tokens))
        writer.add_token_types(list(self.types))
        if self.merges:
            writer.add_token_merges(list(self.merges))
        if self.scores:
            writer.add_token_scores(list(self.scores))
        for name in ("bos", "eos", "unk", "pad"):
            number = getattr(tokenizer, f"{name}_token_id")
            if number is not None:
                getattr(writer, f"add_{name}_token_id")(int(number))
        ids = tokenizer("a")["input_ids"]
        writer.add_add_bos_token(bool(ids) and ids[0] == tokenizer.bos_token_id)
        writer.add_add_eos_token(bool(ids) and ids[-1] == tokenizer.eos_token_id)
        if self.model == "llama":
            first = tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).tokens[0]
            writer.add_add_space_prefix(first.startswith(_SPACE))


def _tokens(
    model: Mapping[str, Any], added: Any, rows: int, unknown: str | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [_UNUSED] * rows
    for token, number in model["vocab"].items():
        tokens[number] = token
        is_byte = model.get("byte_fallback") and _BYTE_TOKEN.fullmatch(token)
        types[number] = _BYTE if is_byte else _UNKNOWN if token == unknown else _NORMAL
    for item in added:
        tokens[item["id"]] = item["content"]
        if item["content"] != unknown:
            types[item["id"]] = _CONTROL if item["special"] else _USER
    return tuple(tokens), tuple(types)


def _scores(tokens: tuple[str, ...], merges: list[list[str]]) -> tuple[float, ...]:
    """SentencePiece merges the pair whose token has the best score first; the merges stand in that order."""
    first: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        first.setdefault("".join(pair), rank)
    return tuple(float(-first.get(token, len(merges))) for token in tokens)


def _cut_of(backend: Any, where: Path) -> str:
    from tokenizers import decoders

    decode = decoders.ByteLevel()
    pieces = backend.pre_tokenizer.pre_tokenize_str(_PROBE) if backend.pre_tokenizer is not None else []
    found = tuple(decode.decode([piece]) for piece, _ in pieces)
    has_form = backend.normalizer is None or type(backend.normalizer).__name__ == "NFC"
    if found in _CUTS and has_form:
        return _CUTS[found]
    raise ModelFormatError(
        f"{where}: expected a tokenizer that cuts text as GPT-2's, Llama 3's or Qwen 2's does, found another "
        "way, which cannot be named in GGUF here; use llama.cpp's own converter."
    )
