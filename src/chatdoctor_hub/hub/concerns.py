"""`find_concerns`: what speaks against uploading a folder, or against showing it to everybody."""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.hub.contents import CARD, CORPUS, Contents, LocalFile
from chatdoctor_hub.hub.credentials import credentials_in
from chatdoctor_hub.hub.strangers import Strangers, sort_strangers
from chatdoctor_hub.release import Manifest, public_obstacles, render_card
from chatdoctor_hub.release.manifest import MANIFEST

__all__ = ["ACCEPTABLE", "PICKLES", "Concern", "find_concerns", "is_pickle_name"]

Weight = Literal["refused", "public", "note"]
ACCEPTABLE = ("licences", "identifiers", "pictures")
"""The kinds that may be made public all the same, when somebody says so."""

# What torch.load, numpy, joblib and pandas unpickle.
PICKLES = frozenset(
    {".bin", ".pt", ".pth", ".pt2", ".ptl", ".ckpt", ".pkl", ".pickle", ".pck", ".mar", ".th"}
)
PICKLES |= {".joblib", ".dill", ".cloudpickle", ".npy", ".npz"}
_LARGEST_TEXT_PICKLE = 16 << 20  # of protocol 0, which is looked for by reading all of it
# What a card must be able to say: links, and the services it names.
_NO_PERSON = frozenset({"url", "platform"})
_LARGEST_FILE = 200 << 30  # what the Hub asks to stay below in one file
_NOT_LOOKED_FOR = "not looked for: pip install 'chatdoctor-hub[deidentify]', and look before others do"
_MOST_FILES = 25_000  # large files in one commit, as huggingface_hub says


@dataclass(frozen=True)
class Concern:
    """Something to know before a folder goes up; never the words it is about.

    Args:
        kind: "secrets", "pickles", "size", "base", "licences", "identifiers", "pictures", "strangers" or "left out".
        weight: "refused" lets nothing go up; "public" only to oneself, unless it is accepted by its kind; "note"
            is to be known.
        where: a file, or "" for the folder.
        what: was found, and what to do.
    """

    kind: str
    weight: Weight
    where: str
    what: str

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return asdict(self)


def find_concerns(contents: Contents) -> tuple[Concern, ...]:
    """Look through all files of a folder.

    Raises:
        MissingExtraError: for a corpus without pyarrow.
    """
    found = [concern for file in contents.files for concern in _of_file(file)]
    found += _of_sizes(contents)
    found += [Concern("licences", "public", "", text) for text in public_obstacles(contents.folder)]
    found += _of_base(contents)
    strangers = sort_strangers(contents, {concern.where for concern in found if concern.weight == "refused"})
    found += _of_strangers(strangers)
    found += _of_words({CARD: _own_words(contents), **strangers.documents})
    if contents.type == "dataset":
        found += _of_patients(contents.folder)
    if contents.left_out:
        found.append(
            Concern("left out", "note", "", f"hidden, so they stay here: {_some(contents.left_out)}")
        )
    return tuple(found)


def _of_file(file: LocalFile) -> Iterator[Concern]:
    if reason := _pickle(file):
        yield Concern("pickles", "refused", file.path, f"{reason}; such files can run code: use safetensors")
    else:
        counts = credentials_in(file.file)
        for kind, count in counts.items():
            what = f"{count} {kind}{'s' if count > 1 else ''}; remove and revoke what is real"
            yield Concern("secrets", "refused", file.path, what)
    if file.size > _LARGEST_FILE:
        what = f"{file.size / (1 << 30):.0f} GiB, more than {_LARGEST_FILE >> 30} GiB in one file; save it in shards"
        yield Concern("size", "refused", file.path, what)


def is_pickle_name(path: str) -> bool:
    """Whether a file of that name is one that would be unpickled."""
    return Path(path).suffix.lower() in PICKLES


def _pickle(file: LocalFile) -> str:
    """Why a file is taken for a pickle, whatever its name; "" where it is none."""
    if is_pickle_name(file.path):
        return f"a pickle by its name ({file.file.suffix})"
    with file.file.open("rb") as opened:
        start = opened.read(9)
    if file.file.suffix == ".safetensors":
        # Eight bytes of length, and then JSON.
        return "" if start[8:] == b"{" else "named as safetensors, but none by its content"
    # What protocol 2 and above opens with is no UTF-8.
    if len(start) > 1 and start[0] == 0x80 and start[1] in range(2, 6):
        return "a pickle by its content"
    if file.size <= _LARGEST_TEXT_PICKLE and _is_text_pickle(file.file):
        return "a pickle by its content"
    if start.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(file.file) as archive:
                if any(name.endswith((".pkl", ".pickle")) for name in archive.namelist()):
                    return "an archive with a pickle in it"
        except zipfile.BadZipFile:
            return "a broken archive"
    return ""


def _of_sizes(contents: Contents) -> Iterator[Concern]:
    if len(contents.files) > _MOST_FILES:
        what = f"{len(contents.files):,} files, more than {_MOST_FILES:,} in one commit; use larger shards"
        yield Concern("size", "refused", "", what)
    for file in contents.files:
        if not file.size:
            yield Concern("size", "note", file.path, "empty")


def _is_text_pickle(file: Path) -> bool:
    """Whether all of it is a pickle of protocol 0 or 1, which opens with nothing of its own; it is not run."""
    with file.open("rb") as opened:
        try:
            operations = sum(1 for _ in pickletools.genops(opened))
        except (ValueError, MemoryError):
            return False
        return operations > 1 and not opened.read(1)


def _of_strangers(strangers: Strangers) -> Iterator[Concern]:
    for path, what in strangers.others.items():
        yield Concern("strangers", "refused", path, what)
    for path in strangers.pictures:
        what = "not listed in the record, and only eyes can tell whether it shows a patient: look at it"
        yield Concern("pictures", "public", path, what)
    if names := list(strangers.documents):
        yield Concern("strangers", "note", "", f"not listed in the record, and going up: {_some(names)}")


def _of_base(contents: Contents) -> Iterator[Concern]:
    if contents.type == "dataset":
        return
    made = _manifest(contents.folder)
    if made.weights == "adapter" and not made.base.path and not made.base.revision:
        what = (
            f"an adapter of {Path(made.base.id).name}, a model that only this machine has, so that nobody else can "
            "load it; tune a base that is on the Hub, or release it with --merge or --include-base"
        )
        yield Concern("base", "public", "", what)


def _own_words(contents: Contents) -> str:
    """The lines of a card that people wrote, without those that its records make."""
    if contents.type == "model":
        made = render_card(_manifest(contents.folder))
    else:
        from chatdoctor_hub.corpus.building.card import render_data_card

        made = render_data_card(json.loads((contents.folder / CORPUS).read_text(encoding="utf-8")))
    known = frozenset(made.splitlines())
    lines = (contents.folder / CARD).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line not in known)


def _manifest(folder: Path) -> Manifest:
    # Its digests were checked when the contents were read.
    return Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))


def _of_words(written: Mapping[str, str]) -> Iterator[Concern]:
    """What of people stands in words that no record knows of; counts alone."""
    from chatdoctor_hub.corpus.cleaning import Deidentifier

    for path, words in written.items():
        if not words.strip():
            continue
        try:
            found = Counter(finding.kind for finding in Deidentifier().text(words)[1])
        except MissingExtraError:
            yield Concern("identifiers", "public", path, _NOT_LOOKED_FOR)
            continue
        if kinds := [f"{count:,} {kind}" for kind, count in found.items() if kind not in _NO_PERSON]:
            yield Concern(
                "identifiers", "public", path, f"found {', '.join(kinds)}; remove what is of a patient"
            )


def _of_patients(folder: Path) -> Iterator[Concern]:
    from chatdoctor_hub.corpus.cleaning import count_identifiers
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.corpus.splits import SPLITS

    corpus = Corpus.open(folder, verify=False)
    try:
        counts = count_identifiers(item for name in SPLITS for item in corpus.stream(name))
    except MissingExtraError:
        yield Concern("identifiers", "public", "", _NOT_LOOKED_FOR)
        return
    if counts.by_kind:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.by_kind.items())
        what = f"in {counts.changed:,} of {counts.dialogues:,} dialogues: {kinds}"
        yield Concern("identifiers", "public", "", what)
    else:
        yield Concern("identifiers", "note", "", f"none found in {counts.dialogues:,} dialogues")


def _some(names: tuple[str, ...] | list[str], shown: int = 5) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
