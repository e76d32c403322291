"""`Settings`: how a release is to be published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.hub.concerns import ACCEPTABLE

__all__ = ["ACCEPTED", "STAGE", "Gate", "Settings"]

Gate = Literal["auto", "manual", False]
ACCEPTED = (*ACCEPTABLE, "remote-edits", "staying", "unasked")
"""The kinds of concerns that may be passed over when somebody says so."""
STAGE = "chatdoctor-publish"
"""The branch for what nobody has verified yet; see `staging`."""
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(?:/[A-Za-z0-9][A-Za-z0-9._+-]*)*")


@dataclass(frozen=True)
class Settings:
    """How a release is to be published.

    Args:
        public: to be seen by everybody; False leaves a repository as it is, and makes a new one private.
        gated: who may download: "auto" for those who accept the terms, "manual" for those one lets in, False for
            everybody who sees it; None leaves it as it is.
        tag: for the commit, such as "v1".
        collection: slug of a collection, or the title of one of one's own, which is made if there is none.
        pr: open a pull request and change nothing else.
        merge: merge that pull request once it is verified.
        revision: branch to publish to.
        accept: kinds of concerns to pass over, of `ACCEPTED`.
        ask: load the weights and ask the model a question, to verify it.
    """

    public: bool = False
    gated: Gate | None = None
    tag: str | None = None
    collection: str | None = None
    pr: bool = False
    merge: bool = False
    revision: str = "main"
    accept: frozenset[str] = frozenset()
    ask: bool = True

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            ConfigError: listing all of it.
        """
        faults = []
        if self.gated not in (None, False, "auto", "manual"):
            faults.append(f"gated to be auto, manual or false, found {self.gated!r}")
        if self.tag is not None and (not _TAG.fullmatch(self.tag) or self.tag in ("main", "HEAD")):
            faults.append(f"tag to be a name such as v1, found {self.tag!r}")
        if not _TAG.fullmatch(self.revision) or self.revision == STAGE:
            faults.append(f"revision to be a branch, found {self.revision!r}")
        if self.merge and not self.pr:
            faults.append(
                "merge with a pull request, found it alone (weights are merged by `chatdoctor release --merge`)"
            )
        if self.pr and self.revision != "main":
            faults.append(f"a pull request to main, found the revision {self.revision!r}")
        late = {
            "public": self.public,
            "gated": self.gated is not None,
            "tag": self.tag,
            "collection": self.collection,
        }
        if self.pr and not self.merge and (given := [name for name, value in late.items() if value]):
            faults.append(
                f"a pull request without {' and '.join(given)}, which come with its merge, found it with them"
            )
        if unknown := sorted(self.accept - {*ACCEPTED}):
            faults.append(f"accept among {', '.join(ACCEPTED)}, found {', '.join(unknown)}")
        if faults:
            raise ConfigError(f"Expected {'; '.join(faults)}.")
