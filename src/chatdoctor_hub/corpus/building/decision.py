"""`decide`: which of the cleaned dialogues stay, and at which place of which split; from their digests alone.

The words stay on the disk. Held are 60 bytes a dialogue, and what the near-duplicates need.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chatdoctor_hub.corpus.building.parts import Part, numpy, read_arrow, write_arrow
from chatdoctor_hub.corpus.building.sketch_file import SketchFile
from chatdoctor_hub.corpus.cleaning import group_near_duplicates
from chatdoctor_hub.corpus.record import Rejected, reasons
from chatdoctor_hub.corpus.shards import parquet
from chatdoctor_hub.corpus.splits import SPLITS, divide
from chatdoctor_hub.errors import DataFormatError, LeakError

if TYPE_CHECKING:
    import pyarrow as pa

    from chatdoctor_hub.corpus.building.config import CorpusConfig

__all__ = ["Decision", "decide"]

_SHOWN = 5  # leaks that a message names
_FILES = ("places.npy", "rejected.arrow", "decision.json")
_EXACT, _NEAR, _LEAK = ("duplicates", "exact"), ("duplicates", "near"), ("leaks", "evaluation record")


@dataclass(frozen=True)
class Decision:
    """What becomes of each dialogue of the parts.

    Args:
        folder: where it is kept: `places.npy` holds for each dialogue of all parts in turn its place in the
            corpus (train, validation and test one after the other), or -1; `rejected.arrow` all that was
            left out, by reading and cleaning too.
        told: "digest", "dialogues", "turns", "counts", "changes", "sources" (records read and dialogues kept
            by the name of the source) and "leaks" (how many dialogues leak).
    """

    folder: Path
    told: dict[str, Any]

    @property
    def places(self) -> Any:
        """A numpy array of the places."""
        return numpy().load(self.folder / "places.npy")

    @property
    def rejected(self) -> pa.Table:
        """All that was left out."""
        return read_arrow(self.folder / "rejected.arrow")

    @classmethod
    def open(cls, folder: Path) -> Decision | None:
        """The decision in a folder, or None where it is not complete."""
        if not all((folder / name).is_file() for name in _FILES):
            return None
        return cls(folder, json.loads((folder / "decision.json").read_text("utf-8")))


def decide(parts: Sequence[Part], config: CorpusConfig, folder: Path) -> Decision:
    """Find duplicates and leaks among all parts, divide the rest into splits, and keep that in `folder`.

    Of equal or nearly equal dialogues the first stays, in the order of the sources. The splits are those that
    `split` makes of the same dialogues.

    Raises:
        LeakError: when dialogues repeat evaluation records and `on_leak` is "stop".
        DataFormatError: when too few dialogues are left to divide.
    """
    np = numpy()
    keys = np.concatenate([part.keys for part in parts])
    other = _repeated(keys)
    why = np.where(other >= 0, 1, 0).astype(np.uint8)  # 0 stays, 1 exact, 2 near, 3 leak
    leaks = _leaks(parts, why)
    if leaks and config.on_leak == "stop":
        raise _leak_error(leaks)
    if config.on_leak == "drop":
        why[[leak["row"] for leak in leaks]] = 3
    if config.near_duplicates is not None:
        _drop_near(parts, config.near_duplicates, why, other, folder)
    places, homes = _places(keys, why == 0, config)
    told = _told(parts, keys, why, places, homes) | {"leaks": len(leaks)}
    np.save(folder / "places.npy", places)
    write_arrow(_all_rejected(parts, why, other, leaks), folder / "rejected.arrow")
    # Written last: a decision is complete when it is there.
    (folder / "decision.json").write_text(json.dumps(told), "utf-8")
    return Decision(folder, told)


def _halves(keys: Any, field: str) -> tuple[Any, Any]:
    """The first 16 bytes of a digest as two numbers that sort as the bytes do."""
    np = numpy()
    # 128 bits are equal for unlike texts once in 10^25 corpora of millions.
    words = np.ascontiguousarray(keys[field][:, :16]).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


def _repeated(keys: Any) -> Any:
    """For each dialogue the first one with the same words, or -1 where it is the first."""
    np = numpy()
    high, low = _halves(keys, "digest")
    order = np.lexsort((low, high))
    starts = _starts(high[order], low[order])
    first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    other = np.full(len(order), -1, np.int64)
    other[order] = np.where(starts, -1, first)
    return other


def _starts(*columns: Any) -> Any:
    """Where a run of equal rows begins."""
    np = numpy()
    starts = np.ones(len(columns[0]), bool)
    starts[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return starts


def _leaks(parts: Sequence[Part], why: Any) -> list[dict[str, Any]]:
    """The leaks of all parts among the dialogues that stay, with their rows counted through all parts."""
    found, base = [], 0
    for part in parts:
        counts = part.counts
        found += [leak | {"row": leak["row"] + base, "source": counts["source"]} for leak in part.leaks]
        base += counts["kept"]
    return [leak for leak in found if not why[leak["row"]]]


def _leak_error(leaks: list[dict[str, Any]]) -> LeakError:
    shown = "; ".join(
        f"{leak['source']} {leak['id']} repeats {leak['other']} ({leak['kind']}, {leak['similarity']:.2f})"
        for leak in leaks[:_SHOWN]
    )
    more = f"; and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
    return LeakError(
        f"Expected no dialogue that repeats a record of an evaluation set, found {len(leaks)}: {shown}{more}; "
        "set on_leak to 'drop' to leave them out, or take the records out of the source."
    )


def _drop_near(parts: Sequence[Part], threshold: float, why: Any, other: Any, folder: Path) -> None:
    """Mark what nearly repeats an earlier dialogue that stays."""
    np = numpy()
    rows = np.flatnonzero(why == 0)
    if not len(rows):
        return
    sketches = SketchFile.write(folder / "sketches.npy", parts, why == 0)
    groups = group_near_duplicates(cast("Any", sketches), threshold)
    sketches.close()
    (folder / "sketches.npy").unlink()
    repeats = groups != np.arange(len(groups))
    why[rows[repeats]] = 2
    other[rows[repeats]] = rows[groups[repeats]]


def _places(keys: Any, stays: Any, config: CorpusConfig) -> tuple[Any, Any]:
    """For each dialogue its place in the corpus, or -1, and the number of its split."""
    np = numpy()
    rows = np.flatnonzero(stays)
    kept = keys[rows]
    high, low = _halves(kept, "rank")
    order = np.lexsort((*reversed(_halves(kept, "digest")), low, high))
    group = np.empty(len(rows), np.int64)
    group[order] = np.cumsum(_starts(high[order], low[order])) - 1
    if config.split_by == "patient":
        group = _joined(group, np.unique(kept["owner"].copy().view("<u8"), return_inverse=True)[1].ravel())
        order = np.lexsort((*reversed(_halves(kept, "digest")), group))
    sizes = np.bincount(group) if len(group) else np.zeros(0, np.int64)
    numbers = np.flatnonzero(sizes)
    homes = np.zeros(len(sizes), np.uint8)
    homes[numbers] = np.frombuffer(divide(sizes[numbers].tolist(), config.validation, config.test), np.uint8)
    of_rows = homes[group]
    order = order[np.argsort(of_rows[order], kind="stable")]
    places = np.full(len(keys), -1, np.int64)
    places[rows[order]] = np.arange(len(rows))
    split = np.full(len(keys), 255, np.uint8)
    split[rows] = of_rows
    return places, split


def _joined(group: Any, owner: Any) -> Any:
    """The groups joined where dialogues of one owner stand in several; each named by its lowest."""
    np = numpy()
    while True:
        before = group
        lowest = np.full(owner.max(initial=0) + 1, np.iinfo(np.int64).max)
        np.minimum.at(lowest, owner, group)
        root = np.arange(group.max(initial=0) + 1)
        np.minimum.at(root, group, lowest[owner])
        while not np.array_equal(root, root[root]):
            root = root[root]
        group = root[group]
        if np.array_equal(group, before):
            return group


def _told(parts: Sequence[Part], keys: Any, why: Any, places: Any, homes: Any) -> dict[str, Any]:
    np = numpy()
    changes: dict[str, Counter[str]] = {}
    sources: dict[str, Counter[str]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    base = 0
    for part in parts:
        made = part.counts
        for step, kinds in made["changes"].items():
            changes.setdefault(step, Counter()).update(kinds)
        stays = int(np.count_nonzero(why[base : base + made["kept"]] == 0))
        sources.setdefault(made["source"], Counter()).update(read=made["read"], kept=stays)
        base += made["kept"]
        left_out = part.rejected
        counts.update(zip(left_out["step"].to_pylist(), left_out["reason"].to_pylist(), strict=True))
    for number, reason in enumerate((_EXACT, _NEAR, _LEAK), start=1):
        counts[reason] += int(np.count_nonzero(why == number))
    read, kept = (sum(source[name] for source in sources.values()) for name in ("read", "kept"))
    if read != kept + counts.total():
        raise DataFormatError(
            f"Expected every record read to be kept or left out, found {read} read, {kept} kept and "
            f"{counts.total()} left out; the work folder was changed: remove it and build again."
        )
    of_split = [homes == number for number in range(len(SPLITS))]
    return {
        "digest": _digest(keys, places, homes),
        "dialogues": {name: int(np.count_nonzero(own)) for name, own in zip(SPLITS, of_split, strict=True)},
        "turns": {name: int(keys["turns"][own].sum()) for name, own in zip(SPLITS, of_split, strict=True)},
        "counts": {"read": read, "kept": kept, "rejected": reasons(+counts)},
        "changes": {step: dict(sorted(kinds.items())) for step, kinds in sorted(changes.items())},
        "sources": {name: dict(found) for name, found in sources.items()},
    }


def _digest(keys: Any, places: Any, homes: Any) -> str:
    """The digest of a corpus, as `Splits.digest` computes it of dialogues in memory."""
    np = numpy()
    rows = np.argsort(places, kind="stable")[np.count_nonzero(places < 0) :]
    digest = hashlib.sha256()
    for start in range(0, len(rows), 1 << 16):
        block = rows[start : start + (1 << 16)]
        words = keys["digest"][block].tobytes().hex()
        lines = (
            f"{SPLITS[home]} {words[64 * at : 64 * at + 64]}\n"
            for at, home in enumerate(homes[block].tolist())
        )
        digest.update("".join(lines).encode())
    return digest.hexdigest()


def _all_rejected(parts: Sequence[Part], why: Any, other: Any, leaks: list[dict[str, Any]]) -> pa.Table:
    """What reading and cleaning left out, in the order of the sources, then duplicates and leaks."""
    np, (pa, _) = numpy(), parquet()
    by_cleaning = pa.concat_tables([part.rejected for part in parts])
    names = pa.concat_tables([part.names for part in parts])
    rows = np.flatnonzero(why > 0)
    if not len(rows):
        return by_cleaning.combine_chunks()
    own = names.take(pa.array(rows))
    first = names.take(pa.array(np.maximum(other[rows], 0)))
    repeats = map(" ".join, zip(first["source"].to_pylist(), first["id"].to_pylist(), strict=True))
    evaluated = {leak["row"]: leak["other"] for leak in leaks}
    steps = [(("", ""), _EXACT, _NEAR, _LEAK)[number] for number in why[rows].tolist()]
    pairs = zip(rows.tolist(), steps, repeats, strict=True)
    others = [evaluated[row] if step is _LEAK else text for row, step, text in pairs]
    nothing = pa.nulls(len(rows), pa.int64())
    told = {
        "source": own["source"],
        "id": own["id"],
        "record": nothing,
        "line": nothing,
        "step": pa.array([step for step, _ in steps], pa.string()),
        "reason": pa.array([reason for _, reason in steps], pa.string()),
        "other": pa.array(others, pa.string()),
    }
    return pa.concat_tables([by_cleaning, pa.table({name: told[name] for name in Rejected._fields})])
