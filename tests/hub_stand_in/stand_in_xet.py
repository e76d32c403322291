"""Large files by Xet, with hf_xet's local store in place of the Hub's (`casUrl: local:///folder`; hf_xet 1.8).

Only one process at a time can open such a store, so each token leads to a folder of its own:

    <repository>/xet/sent/N    where a client uploads; taken over by the commit that names the file
                     opened/N  a copy of it, in which the server looks while the client still has the other open
                     kept      all that the repository holds, opened by the server alone
                     given/N   a copy of `kept`, for a client that downloads
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stand_in_refusal import RefusalError
from stand_in_routing import Asked, answers
from stand_in_storage import StoredRepo, write_whole
from starlette.responses import JSONResponse, Response

LIFETIME = 3600
STORE = Path("xet") / "xorbs"
ENTRY = 48
VERIFIED, WITH_SHA256 = 1 << 31, 1 << 30
END_OF_FILES = b"\xff" * 32


def xet_folder(repo: StoredRepo) -> Path:
    """Where the Xet stores of a repository lie."""
    return repo.folder / "xet"


def _new(folder: Path) -> Path:
    """A new numbered folder."""
    number = sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
    found = folder / str(number)
    found.mkdir(parents=True)
    return found


def _copy(store: Path, target: Path) -> None:
    """A copy of a store as it is now: what never changes is linked, its index is copied."""

    def copy(source: str, to: str) -> None:
        if source.endswith(".redb"):
            shutil.copyfile(source, to)
        else:
            os.link(source, to)

    if (store / STORE).is_dir():
        shutil.copytree(store / STORE, target / STORE, copy_function=copy, dirs_exist_ok=True)


def _answer(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    url, expires = f"local://{folder.resolve()}", int(time.time()) + LIFETIME
    body = {"accessToken": "xet", "exp": expires, "casUrl": url}
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expires)}
    return body, headers


def upload_connection(asked: Asked, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Where a client may upload: the body and the headers that say so."""
    if not asked.hub.xet:
        raise RefusalError(404, "This Hub has no Xet store")
    return _answer(_new(folder / "sent"))


@answers("GET", "/api/{T}/{id}/xet-write-token/{rev}")
def write_token(asked: Asked) -> Response:
    body, headers = upload_connection(asked, xet_folder(asked.repo_to_change()))
    return JSONResponse(body, headers=headers)


@answers("GET", "/api/{T}/{id}/xet-read-token/{rev}")
def read_token(asked: Asked) -> Response:
    repo = asked.repo("read")
    repo.resolve(asked.parts["rev"])
    folder = xet_folder(repo)
    target = _new(folder / "given")
    _copy(folder / "kept", target)
    body, headers = _answer(target)
    return JSONResponse(body, headers=headers)


def described(shard: bytes) -> list[tuple[str, int, str]]:
    """The Xet hash, the size and the sha256 (may be empty) of each file that a shard describes.

    A shard opens with 48 bytes; then each file has a header (hash, flags, number of segments), its segments, their
    verification if the first flag is set, and its sha256 if the second is: 48 bytes each. Hashes are four
    little-endian words.
    """
    found, place = [], ENTRY
    while shard[place : place + 32] != END_OF_FILES and place + ENTRY <= len(shard):
        name, flags, segments = struct.unpack_from("<32sII", shard, place)
        place += ENTRY
        size = sum(struct.unpack_from("<I", shard, place + n * ENTRY + 36)[0] for n in range(segments))
        place += segments * ENTRY * (2 if flags & VERIFIED else 1)
        sha256 = _hex(shard[place : place + 32]) if flags & WITH_SHA256 else ""
        place += ENTRY if sha256 else 0
        found.append((_hex(name), size, sha256))
    return found


def _hex(words: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", words))


def sent_files(folder: Path) -> Iterator[tuple[Path, str, int, str]]:
    """All that clients uploaded: the store it lies in, Xet hash, size, sha256."""
    for shard in sorted(folder.glob(f"sent/*/{STORE}/shards/*.mdb")):
        yield from ((shard.parents[3], *file) for file in described(shard.read_bytes()))


def rebuild(folder: Path, sent: Path, name: str, size: int) -> Path:
    """Put a file together from its chunks."""
    import hf_xet

    copied = _new(folder / "opened")
    _copy(sent, copied)
    group = hf_xet.XetSession().new_file_download_group(endpoint=f"local://{copied.resolve()}")
    group.start_download_file(hf_xet.XetFileInfo(name, size), str(copied / "file"))
    group.wait_to_finish()
    return copied / "file"


def take_in(repo: StoredRepo, sha256: str) -> None:
    """Move a large file that was uploaded by Xet into the repository; nothing happens when there is none."""
    folder = xet_folder(repo)
    for sent, name, size, found in sent_files(folder):
        if found == sha256:
            _keep(repo, folder, rebuild(folder, sent, name, size), sha256, name)
            return


def _keep(repo: StoredRepo, folder: Path, rebuilt: Path, sha256: str, name: str) -> None:
    """Check a file, keep it with its chunks and whole."""
    import hf_xet

    data = rebuilt.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RefusalError(400, f"The sha256 of the file that was uploaded is not {sha256}")
    (folder / "kept").mkdir(exist_ok=True)
    keeping = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{(folder / 'kept').resolve()}")
    handle = keeping.start_upload_file(str(rebuilt), sha256=sha256)
    keeping.wait_to_finish()
    if handle.result().xet_info.hash != name:
        raise RefusalError(500, "The chunks were put together to another file")
    write_whole(repo.folder / "large" / f"{sha256}.xet", name.encode())
    write_whole(repo.folder / "large" / sha256, data)
    rebuilt.unlink()
