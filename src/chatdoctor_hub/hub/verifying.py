"""`verify`: what the Hub gives out is what was meant: whole, loadable, with the safety prompt, answering."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ChatDoctorError, DownloadError, HubNotFoundError, PublishError
from chatdoctor_hub.hub.asking import QUESTION, ask_model, missing_to_ask
from chatdoctor_hub.hub.concerns import is_pickle_name
from chatdoctor_hub.hub.contents import CORPUS, Contents, RepoType, listed_in
from chatdoctor_hub.hub.downloading import download, wanted
from chatdoctor_hub.hub.edits import MADE_BY_THE_HUB
from chatdoctor_hub.hub.finding import find_commit
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.stored import StoredFile, files_at
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.prompts.rendering import render
from chatdoctor_hub.release.manifest import MANIFEST, SERVING_TEMPLATE, load_manifest
from chatdoctor_hub.release.places import BASE_HERE

__all__ = ["VerifyReport", "check_folder_of", "check_is_ours", "in_place_of", "verify", "verify_at"]

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
        answered: whether the weights were loaded, and the model answered a question.
        why_not: "" where it did, or for a corpus; else why it was not asked.
        strangers: names of files there that the record there does not list.
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
    why_not: str
    strangers: tuple[str, ...]

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
    ask: bool = True,
) -> VerifyReport:
    """Download a release or a corpus from the Hub to a fresh place, and check it there.

    Its files have the digests of the Hub and of its own record, its chat template writes the safety prompt before a
    question, also when the caller has system words of his own, and its weights load and answer that question.

    Args:
        repo_id: "me/my-model".
        revision: branch, tag or commit; main by default.
        type: "model" or "dataset"; by default whichever there is.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: of the Hub; HF_TOKEN, or the one that was logged in with, by default; False for none.
        ask: load the weights, with the base of an adapter, which is fetched if need be, and ask the model a question;
            the report says why, where torch, transformers or peft is not installed.

    Raises:
        DownloadError: when what came is not what the Hub says it has.
        ReleaseError, PromptError, DataError: when it cannot be trusted.
        ModelError, GenerationError: when it cannot be loaded, or cannot answer.
        PublishError: when there are pickles, the template leaves the safety prompt out, or the answer is empty.
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
    ask: bool = True,
) -> VerifyReport:
    """`verify`, for one commit; with `contents`, every file is also compared with that folder's."""
    there = files_at(session, repo, type, commit)
    check_is_ours(repo, type, there.keys())
    _check_no_pickles(f"{repo}@{revision or commit}", there.keys())
    files = wanted(there)
    if contents is not None:
        _compare_with(contents, repo, commit, files)
    why_not = _why_not(ask) if type == "model" else ""
    answered = type == "model" and not why_not
    with tempfile.TemporaryDirectory(prefix="chatdoctor-verify-") as fresh:
        folder = Path(fresh)
        download(session, repo, type, commit, folder, files)
        with in_place_of(folder, f"{repo}@{revision or commit}"):
            prompt, by = check_folder_of(folder, type)
            if contents is not None and (contents.folder / BASE_HERE).is_file():
                # What only this machine can load is not published; it is loaded as it is here.
                shutil.copy(contents.folder / BASE_HERE, folder)
            if answered and not ask_model(folder).strip():
                raise PublishError(
                    f"{repo}: expected an answer of the model to {QUESTION!r}, found an empty one; look at its "
                    "weights and its chat template."
                )
        record = (folder / _RECORDS[type]).read_text(encoding="utf-8")
    return VerifyReport(
        repo=repo,
        type=type,
        revision=revision or commit,
        commit=commit,
        files=len(files),
        bytes=sum(file.size for file in files.values()),
        compared=contents is not None,
        prompt=prompt,
        rendered_by=by,
        answered=answered,
        why_not=why_not,
        strangers=tuple(sorted(files.keys() - listed_in(record, type) - {MADE_BY_THE_HUB})),
    )


_RECORDS: dict[RepoType, str] = {"model": MANIFEST, "dataset": CORPUS}


def _why_not(ask: bool) -> str:
    if not ask:
        return "it was not asked for"
    missing = missing_to_ask()
    return f"{missing[0]} is not installed" if missing else ""


def _check_no_pickles(where: str, names: Collection[str]) -> None:
    if pickles := sorted(filter(is_pickle_name, names)):
        raise PublishError(
            f"{where}: expected no pickles, which can run code, found {pickles[0]} among {len(pickles)}; delete them "
            "on the Hub."
        )


def _compare_with(contents: Contents, repo: str, commit: str, files: Mapping[str, StoredFile]) -> None:
    for file in contents.files:
        there = files.get(file.path)
        if there is None or not there.is_same(file.size, file.sha256, file.git_sha1):
            raise DownloadError(
                f"{file.path} of {repo}: expected the file of {contents.folder} at {commit}, found "
                f"{'none' if there is None else 'another'}; publish again."
            )


@contextmanager
def in_place_of(folder: Path, name: str) -> Iterator[None]:
    """Let errors name what a passing folder was downloaded from, not the folder, which will be gone.

    Args:
        folder: that is removed.
        name: what to call it.
    """
    try:
        yield
    except ChatDoctorError as error:
        places = sorted({str(folder), str(folder.resolve())}, key=len, reverse=True)
        for place in places:
            error.args = tuple(
                arg.replace(place, name) if isinstance(arg, str) else arg for arg in error.args
            )
        raise


def check_is_ours(repo: str, type: RepoType, names: Collection[str]) -> None:
    """Refuse a repository without the record that this library writes, before anything is downloaded.

    Raises:
        HubNotFoundError: when it has none.
    """
    record = _RECORDS[type]
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
    user = {"role": "user", "content": QUESTION}
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
