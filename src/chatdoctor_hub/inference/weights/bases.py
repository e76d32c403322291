"""Whether an adapter was made for the base that it is to be put on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chatdoctor_hub.models import digest_of

__all__ = ["Base", "BaseClaim", "commit_of"]

_SNAPSHOT = re.compile(r".*/models--([^/]+)/snapshots/([0-9a-f]{40})/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class BaseClaim:
    """What an adapter says of the base it was made for; "" where it says nothing.

    Args:
        name: Hub id or folder.
        revision: branch, tag or commit.
        digest: as `digest_of`.
        folder: of a base that lies in the release itself.
    """

    name: str = ""
    revision: str = ""
    digest: str = ""
    folder: Path | None = None


@dataclass(frozen=True)
class Base:
    """The base that there is.

    Args:
        folder: its files.
        recorded: its digest, where a release has recorded it; else it is computed when it is asked for, which
            reads all weights (but those in the Hub's cache, which lie under their digests).
    """

    folder: Path
    recorded: str = ""

    @cached_property
    def digest(self) -> str:
        """As `digest_of`."""
        return self.recorded or digest_of(self.folder)

    def why_another(self, claim: BaseClaim) -> str:
        """What shows that this is not the base which is claimed; "" where nothing does.

        A digest decides; a name decides where both are of the Hub. Where there is nothing to compare, the
        shapes of the weights have the last word when the adapter is loaded.
        """
        if claim.folder is not None and _same(claim.folder, self.folder):
            return ""
        if claim.digest:
            return "" if claim.digest == self.digest else f"{claim.name or 'one'} of another digest"
        if not claim.name:
            return ""
        folder = Path(claim.name).expanduser()
        if folder.is_dir():
            same = _same(folder, self.folder) or digest_of(folder) == self.digest
            return "" if same else claim.name
        return self._why_another_of_hub(claim)

    def _why_another_of_hub(self, claim: BaseClaim) -> str:
        found = _SNAPSHOT.fullmatch(self.folder.as_posix())
        if found is None or Path(claim.name).is_absolute():
            return ""
        if claim.name.casefold() != found[1].replace("--", "/", 1).casefold():
            return claim.name
        is_other_commit = _COMMIT.fullmatch(claim.revision) and claim.revision != found[2]
        return f"{claim.name} at commit {claim.revision[:12]}" if is_other_commit else ""


def commit_of(folder: Path) -> str | None:
    """The commit of a model in the Hub's cache; None for any other folder."""
    found = _SNAPSHOT.fullmatch(folder.as_posix())
    return found[2] if found else None


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
