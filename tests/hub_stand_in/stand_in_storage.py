"""Repositories on disk: blobs, commits (each with its whole tree), branches, tags, pull requests, settings.

    <root>/repos/models/me/name/repo.json         settings, branches, tags, pull requests
                               /commits/OID.json  parent, title, date, author, tree {path: entry}
                               /blobs/SHA1        small files
                               /large/SHA256      large files (LFS and Xet)

All that changes is written to another name and moved into place, `repo.json` last: a server that stops half way
leaves each repository as before the request or as after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stand_in_refusal import no_such_revision

KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}
LARGE_ENDINGS = (
    "7z arrow bin bz2 ckpt ftz gguf gz h5 joblib mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt pth "
    "rar safetensors tar tflite tgz wasm xz zip zst jpg jpeg png webp mp3 mp4 wav"
)
ATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE_ENDINGS.split())


def write_whole(path: Path, data: bytes) -> None:
    """Write to another name, then move into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def now() -> str:
    """The time as the Hub writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def git_hash(data: bytes) -> str:
    """The object id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class StoredRepo:
    """One repository; every reading looks at the disk."""

    def __init__(self, folder: Path, kind: str, name: str) -> None:
        self.folder, self.kind, self.id = folder, kind, name

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def prefix(self) -> str:
        """What stands before the id in addresses: nothing for a model."""
        return "" if self.kind == "model" else KINDS[self.kind] + "/"

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.folder / "repo.json").read_text())

    def update(self, **changes: Any) -> None:
        """Change entries of `repo.json`."""
        write_whole(self.folder / "repo.json", json.dumps({**self.record, **changes}, indent=1).encode())

    @property
    def exists(self) -> bool:
        return (self.folder / "repo.json").exists()

    @property
    def private(self) -> bool:
        return self.record["private"]

    @property
    def gated(self) -> str | bool:
        return self.record["gated"]

    @property
    def accepted(self) -> list[str]:
        """The users that were let through the gate."""
        return self.record["accepted"]

    @property
    def branches(self) -> dict[str, str]:
        return self.record["branches"]

    @property
    def tags(self) -> dict[str, str]:
        """The commit of each tag."""
        return {name: tag["commit"] for name, tag in self.record["tags"].items()}

    @property
    def prs(self) -> list[dict[str, Any]]:
        """Pull requests: number, title, status, head, base."""
        return [entry for entry in self.record["discussions"] if entry["isPullRequest"]]

    @property
    def head(self) -> str:
        """The commit of `main`."""
        return self.branches["main"]

    @property
    def commits(self) -> list[str]:
        """The commits of `main`, the newest first."""
        return [commit["oid"] for commit in self.history("main")]

    def history(self, revision: str) -> list[dict[str, Any]]:
        """The commits behind a revision, the newest first."""
        found, oid = [], self.resolve(revision)
        while oid:
            found.append(self.commit(oid))
            oid = found[-1]["parent"]
        return found

    def commit(self, oid: str) -> dict[str, Any]:
        return json.loads((self.folder / "commits" / f"{oid}.json").read_text())

    def resolve(self, revision: str) -> str:
        """The commit of a branch, a tag, `refs/…` or a commit id. Raises: RefusalError (404, `RevisionNotFound`)."""
        record = self.record
        tags = {name: tag["commit"] for name, tag in record["tags"].items()}
        heads = {
            f"refs/pr/{entry['num']}": entry["head"]
            for entry in record["discussions"]
            if entry["isPullRequest"]
        }
        for name, known in (("refs/heads/", record["branches"]), ("refs/tags/", tags), ("refs/pr/", heads)):
            short = revision if name == "refs/pr/" else revision.removeprefix(name)
            if short in known:
                return known[short]
        if revision and revision.isalnum() and len(revision) >= 7:
            for path in sorted((self.folder / "commits").glob(f"{revision}*.json")):
                return path.stem
        raise no_such_revision(revision)

    def tree(self, revision: str = "main") -> dict[str, dict[str, Any]]:
        """Each file of a revision: oid, size and, for a large one, sha256."""
        return self.commit(self.resolve(revision))["tree"]

    def path_of(self, entry: dict[str, Any]) -> Path:
        """Where the bytes of a file lie."""
        return (
            self.folder / "large" / entry["sha256"]
            if "sha256" in entry
            else self.folder / "blobs" / entry["oid"]
        )

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """The bytes of each file of a revision."""
        return {path: self.path_of(entry).read_bytes() for path, entry in self.tree(revision).items()}

    def keep_small(self, data: bytes) -> dict[str, Any]:
        """Store a small file; its entry for a tree."""
        oid = git_hash(data)
        write_whole(self.folder / "blobs" / oid, data)
        return {"oid": oid, "size": len(data)}

    def large_entry(self, sha256: str) -> dict[str, Any]:
        """The entry of a large file that is stored; its oid is that of the pointer which git would hold."""
        size = (self.folder / "large" / sha256).stat().st_size
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        entry = {"oid": git_hash(pointer), "size": size, "sha256": sha256, "pointer_size": len(pointer)}
        xet = self.folder / "large" / f"{sha256}.xet"
        return {**entry, "xet_hash": xet.read_text()} if xet.exists() else entry

    def has_large(self, sha256: str) -> bool:
        return (self.folder / "large" / sha256).exists()

    def write_commit(self, parent: str, tree: dict[str, Any], title: str, message: str, author: str) -> str:
        """Store a commit that no branch points to yet; its id."""
        commit = {
            "parent": parent,
            "title": title,
            "message": message,
            "author": author,
            "date": now(),
            "tree": tree,
        }
        seed = json.dumps([commit, self.id, self.kind, time.monotonic_ns()]).encode()
        commit["oid"] = hashlib.sha1(seed).hexdigest()
        write_whole(self.folder / "commits" / f"{commit['oid']}.json", json.dumps(commit).encode())
        return commit["oid"]


class Storage:
    """All the repositories under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def repo(self, name: str, kind: str = "model") -> StoredRepo:
        """A repository, there or not; a name that differs in case only is the same one."""
        folder = self.root / "repos" / KINDS[kind]
        for part in name.split("/"):
            near = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            folder = folder / next((entry for entry in near if entry.lower() == part.lower()), part)
        return StoredRepo(folder, kind, "/".join(folder.parts[-2:]))

    def repos(self, kind: str = "model") -> list[StoredRepo]:
        found = sorted((self.root / "repos" / KINDS[kind]).glob("*/*/repo.json"))
        return [StoredRepo(path.parent, kind, "/".join(path.parent.parts[-2:])) for path in found]

    def create(self, name: str, kind: str, private: bool, author: str) -> StoredRepo:
        """A new repository with its first commit, which holds `.gitattributes` alone."""
        repo = self.repo(name, kind)
        tree = {".gitattributes": repo.keep_small(ATTRIBUTES.encode())}
        head = repo.write_commit("", tree, "initial commit", "", author)
        record = {
            "private": private,
            "gated": False,
            "created": now(),
            "branches": {"main": head},
            "tags": {},
        }
        record.update(accepted=[], asked=[], discussions=[])
        write_whole(repo.folder / "repo.json", json.dumps(record, indent=1).encode())
        return repo

    def delete(self, repo: StoredRepo) -> None:
        """Take a repository away at once, then its files."""
        gone = self.root / "deleted" / f"{time.monotonic_ns()}"
        gone.parent.mkdir(parents=True, exist_ok=True)
        repo.folder.replace(gone)
        shutil.rmtree(gone)

    def move(self, repo: StoredRepo, name: str) -> StoredRepo:
        """Give a repository another name; the old one leads to the new one."""
        target = StoredRepo(self.root / "repos" / KINDS[repo.kind] / name, repo.kind, name)
        target.folder.parent.mkdir(parents=True, exist_ok=True)
        repo.folder.replace(target.folder)
        moved = {**self.moved, f"{KINDS[repo.kind]}/{repo.id}": name}
        write_whole(self.root / "moved.json", json.dumps(moved).encode())
        return target

    @property
    def moved(self) -> dict[str, str]:
        path = self.root / "moved.json"
        return json.loads(path.read_text()) if path.exists() else {}
