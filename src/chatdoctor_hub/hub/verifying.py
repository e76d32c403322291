"""`verify`: what the Hub gives out is what was meant: whole, loadable, with the safety prompt, answering."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import DownloadError, HubNotFoundError, PublishError
from chatdoctor_hub.hub.contents import CORPUS, Contents, RepoType
from chatdoctor_hub.hub.downloading import download, wanted
from chatdoctor_hub.hub.finding import find_commit
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.stored import files_at
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.prompts.rendering import render
from chatdoctor_hub.release.manifest import MANIFEST, SERVING_TEMPLATE, load_manifest

__all__ = ["Ask", "VerifyReport", "check_folder_of", "check_is_ours", "verify", "verify_at"]

Ask = Callable[[Path], str]
"""Answers one question with the model in a folder; `chatdoctor_hub.inference` has engines that do."""

_QUESTION = "How long does a cold last?"
_CALLER = "Answer in one sentence."


@dataclass(frozen=True)
class VerifyReport:
    """What was looked at, after a download to a fresh place.

    Args:
        repo, type, revision: what was asked for.
        commit: the sha it stands for.
        files: how many were downloaded.
        bytes: of all of them.
        compared: whether they were compared with a folder as well as with the Hub's digests.
        prompt: id of the safety prompt that the chat template writes; "" for a corpus.
        rendered_by: "transformers", or "jinja" where that is not installed; "" for a corpus.
        answered: whether the model was asked, and answered.
    """

    repo: str
    type: RepoType
    revision: str
    commit: str
    files: int
    bytes: int
    compared: bool
    prompt: str
    rendered_by: str
    answered: bool

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return asdict(self)


def verify(
    repo_id: str,
    revision: str | None = None,
    *,
    type: RepoType | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
    ask: Ask | None = None,
) -> VerifyReport:
    """Download a release or a corpus from the Hub to a fresh place, and check it there.

    Its files have the digests of the Hub and of its own record, it loads, and its chat template writes the safety
    prompt before a question, also when the caller has system words of his own.

    Args:
        repo_id: "me/my-model".
        revision: branch, tag or commit; main by default.
        type: "model" or "dataset"; by default whichever there is.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: of the Hub; HF_TOKEN, or the one that was logged in with, by default; False for none.
        ask: answers a question with the model in a folder; without one it is not asked.

    Raises:
        DownloadError: when what came is not what the Hub says it has.
        ReleaseError, PromptError, DataError: when it cannot be trusted.
        PublishError: when the template leaves the safety prompt out, or no answer came.
        HubError: or another of its kinds.
    """
    session = Session(endpoint, token)
    found, commit = find_commit(session, repo_id, revision, type)
    return verify_at(session, repo_id, found, commit, revision=revision or "main", ask=ask)


def verify_at(
    session: Session,
    repo: str,
    type: RepoType,
    commit: str,
    *,
    revision: str = "",
    contents: Contents | None = None,
    ask: Ask | None = None,
) -> VerifyReport:
    """`verify`, for one commit; with `contents`, every file is also compared with that folder's."""
    files = wanted(files_at(session, repo, type, commit))
    check_is_ours(repo, type, files.keys())
    if contents is not None:
        for file in contents.files:
            there = files.get(file.path)
            if there is None or not there.is_same(file.size, file.sha256, file.git_sha1):
                raise DownloadError(
                    f"{file.path} of {repo}: expected the file of {contents.folder} at {commit[:12]}, found "
                    f"{'none' if there is None else 'another'}; publish again."
                )
    with tempfile.TemporaryDirectory(prefix="chatdoctor-verify-") as fresh:
        folder = Path(fresh)
        download(session, repo, type, commit, folder, files)
        prompt, by = check_folder_of(folder, type)
        answered = ask is not None and type == "model"
        if ask is not None and type == "model" and not ask(folder).strip():
            raise PublishError(
                f"{repo}: expected an answer of the model to {_QUESTION!r}, found an empty one; look at its weights "
                "and its chat template."
            )
    size = sum(file.size for file in files.values())
    return VerifyReport(
        repo, type, revision or commit, commit, len(files), size, contents is not None, prompt, by, answered
    )


def check_is_ours(repo: str, type: RepoType, names: Any) -> None:
    """Refuse a repository without the record that this library writes, before anything is downloaded.

    Raises:
        HubNotFoundError: when it has none.
    """
    record = MANIFEST if type == "model" else CORPUS
    if record not in names:
        raise HubNotFoundError(
            f"{repo}: expected {'a release' if type == 'model' else 'a corpus'} of this library ({record}), found other "
            "files; name another repository or revision."
        )


def check_folder_of(folder: Path, type: RepoType) -> tuple[str, str]:
    """Load what lies in a folder and compare it with its own record.

    Returns:
        The id of the prompt that its chat template writes, and what rendered it; "" and "" for a corpus.

    Raises:
        ReleaseError, PromptError, DataError: when it cannot be trusted.
        PublishError: when the chat template leaves the safety prompt out.
    """
    if type == "dataset":
        from chatdoctor_hub.corpus.folder import Corpus

        Corpus.open(folder).verify()
        return "", ""
    pair = load_manifest(folder).prompt_pair
    return pair.id, _check_template(folder, pair)


def _check_template(folder: Path, pair: PromptPair) -> str:
    user = {"role": "user", "content": _QUESTION}
    by = "transformers" if find_spec("transformers") else "jinja"
    tokenizer = None
    if by == "transformers":
        from chatdoctor_hub.models import load_tokenizer

        tokenizer = load_tokenizer(folder)
    template = (folder / SERVING_TEMPLATE).read_text(encoding="utf-8")
    for messages in ([user], [{"role": "system", "content": _CALLER}, user]):
        if tokenizer is not None:
            # As people do who have never heard of this library.
            text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        else:
            text = render(messages, template, cue=True)
        if (pair.safety or pair.serving_text) not in text:
            raise PublishError(
                f"{folder / SERVING_TEMPLATE}: expected the safety prompt of {pair.id} in front of a question, found "
                "none in what the template writes; make the release again."
            )
    return by
