"""What people changed in a repository since this library last published there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chatdoctor_hub import __version__

if TYPE_CHECKING:
    from chatdoctor_hub.hub.contents import RepoType
    from chatdoctor_hub.hub.session import Session
    from chatdoctor_hub.hub.stored import StoredFile

__all__ = ["MADE_BY_THE_HUB", "commit_title", "edited_there"]

MADE_BY_THE_HUB = ".gitattributes"
# A merged pull request has its number behind its title.
_OURS = re.compile(r"Publish .+ with chatdoctor-hub \S+(?: \(#\d+\))?", re.DOTALL)


def commit_title(name: str) -> str:
    """The title of a commit of ours, by which it is known again.

    Args:
        name: of the folder that is published.
    """
    return f"Publish {name} with chatdoctor-hub {__version__}"


def edited_there(
    session: Session, repo: str, type: RepoType, head: str, files: Mapping[str, StoredFile]
) -> frozenset[str]:
    """Names of files that were changed, added or removed after our last commit; all of them where there is none.

    Args:
        session: to ask with.
        repo: id.
        type: of the repository.
        head: a commit.
        files: at that commit, by name.

    Raises:
        HubError: or one of its kinds.
    """
    from chatdoctor_hub.hub.stored import files_at

    if not files.keys() - {MADE_BY_THE_HUB}:
        return frozenset()
    commits = session.ask(repo, lambda: session.api.list_repo_commits(repo, repo_type=type, revision=head))
    ours = next((str(one.commit_id) for one in commits if _OURS.fullmatch(one.title.strip())), None)
    if ours == head:
        return frozenset()
    then = files_at(session, repo, type, ours) if ours else {}
    names = {*then, *files} - {MADE_BY_THE_HUB}
    return frozenset(name for name in names if then.get(name) != files.get(name))
