"""Writing: preupload, commit, pull requests."""

from __future__ import annotations

import base64
import fnmatch
import json
from typing import Any

import stand_in_cards as cards
import stand_in_xet
from stand_in_accounts import check_known
from stand_in_refusal import RefusalError
from stand_in_routing import Asked, answers
from stand_in_storage import KINDS, StoredRepo, now
from starlette.responses import JSONResponse, Response

SMALL = 10_000_000


@answers("POST", "/api/{T}/{id}/preupload/{rev}")
def preupload(asked: Asked) -> Response:
    repo = asked.repo_to_change()
    tree = repo.tree(asked.parts["rev"])
    attributes = tree.get(".gitattributes")
    lines = repo.path_of(attributes).read_text().splitlines() if attributes else []
    patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
    ignore = [line.strip() for line in asked.json.get("gitIgnore", "").splitlines() if line.strip()]
    return JSONResponse({"files": [_mode(file, patterns, ignore, tree) for file in asked.json["files"]]})


def _mode(
    file: dict[str, Any], patterns: list[str], ignore: list[str], tree: dict[str, Any]
) -> dict[str, Any]:
    path, name = file["path"], file["path"].split("/")[-1]
    matches = any(fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path, pattern) for pattern in patterns)
    large = matches or file["size"] > SMALL or b"\0" in base64.b64decode(file["sample"])
    found = {"path": path, "uploadMode": "lfs" if large and file["size"] else "regular"}
    found["shouldIgnore"] = any(fnmatch.fnmatch(name, pattern) for pattern in ignore)
    if path in tree:
        found["oid"] = tree[path].get("sha256", tree[path]["oid"])
    return found


@answers("POST", "/api/{T}/{id}/commit/{rev}")
def commit(asked: Asked) -> Response:
    repo, revision = asked.repo_to_change(), asked.parts["rev"]
    if not asked.asks("create_pr") and revision not in repo.branches and not revision.startswith("refs/pr/"):
        repo.resolve(revision)
        raise RefusalError(400, f"A commit can be made on a branch only; {revision} is none")
    head = repo.resolve(revision)
    lines = [json.loads(line) for line in asked.body.splitlines() if line.strip()]
    header = next((line["value"] for line in lines if line["key"] == "header"), {})
    if not header.get("summary"):
        raise RefusalError(400, "summary is required")
    parent = header.get("parentCommit")
    if parent is not None and parent != head:
        raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(repo.tree(head))
    for line in lines:
        _apply(asked, repo, tree, line["key"], line["value"])
    _check_card(repo, tree)
    oid = repo.write_commit(head, tree, header["summary"], header.get("description", ""), asked.who.name)
    url = f"{asked.hub.url}/{repo.prefix}{repo.id}"
    found = {"success": True, "commitUrl": f"{url}/commit/{oid}", "commitOid": oid, "hookOutput": ""}
    if asked.asks("create_pr"):
        number = open_discussion(repo, header["summary"], header.get("description", ""), asked.who.name, oid)
        found["pullRequestUrl"] = f"{url}/discussions/{number}"
    else:
        advance(repo, revision, oid)
    return JSONResponse(found)


def _apply(asked: Asked, repo: StoredRepo, tree: dict[str, Any], key: str, value: dict[str, Any]) -> None:
    path = value.get("path", "")
    if key == "header":
        return
    steps = path.rstrip("/").split("/")
    if not path or any(step in ("", ".", "..", ".git") for step in steps):
        raise RefusalError(400, f"Invalid path in the commit: {path}")
    if key in ("file", "lfsFile"):
        _check_place(tree, path)
    if key == "file":
        content = value["content"]
        encoded = value.get("encoding") == "base64"
        tree[path] = repo.keep_small(base64.b64decode(content) if encoded else content.encode())
    elif key == "lfsFile":
        sha256 = value["oid"]
        if not repo.has_large(sha256) and asked.hub.xet:
            stand_in_xet.take_in(repo, sha256)
        if not repo.has_large(sha256):
            raise RefusalError(400, f"LFS pointer pointed to a file that does not exist: {path}")
        tree[path] = repo.large_entry(sha256)
    elif key in ("deletedFile", "deletedFolder"):
        start = path.rstrip("/")
        gone = (
            [n for n in tree if n == start]
            if key == "deletedFile"
            else [n for n in tree if n.startswith(f"{start}/")]
        )
        if not gone:
            raise RefusalError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for name in gone:
            del tree[name]
    else:
        raise RefusalError(400, f"Unknown key in the commit: {key}")


def _check_place(tree: dict[str, Any], path: str) -> None:
    """A name is a file or a folder, not both."""
    steps = path.split("/")
    parents = {"/".join(steps[:depth]) for depth in range(1, len(steps))}
    if parents & tree.keys() or any(name.startswith(f"{path}/") for name in tree):
        raise RefusalError(400, f"A file and a folder cannot have the same name: {path}")


def _check_card(repo: StoredRepo, tree: dict[str, Any]) -> None:
    if "README.md" in tree:
        errors, _ = cards.check(
            repo.path_of(tree["README.md"]).read_text(encoding="utf-8", errors="replace"), repo.kind
        )
        if errors:
            raise RefusalError(400, f"Invalid metadata in README.md: {errors[0]['message']}")


def advance(repo: StoredRepo, revision: str, oid: str) -> None:
    """Let a branch or a pull request point to a new commit."""
    if revision.startswith("refs/pr/"):
        number = int(revision.removeprefix("refs/pr/"))
        kept = repo.record["discussions"]
        repo.update(
            discussions=[{**entry, "head": oid} if entry["num"] == number else entry for entry in kept]
        )
    else:
        repo.update(branches={**repo.branches, revision: oid})


def open_discussion(repo: StoredRepo, title: str, text: str, author: str, head: str = "") -> int:
    """Open a discussion, or with a commit a pull request; its number."""
    kept = repo.record["discussions"]
    entry = {
        "num": len(kept) + 1,
        "title": title,
        "text": text,
        "author": author,
        "status": "open",
        "merged": None,
    }
    entry.update(isPullRequest=bool(head), head=head, base=repo.head, createdAt=now())
    repo.update(discussions=[*kept, entry])
    return len(kept) + 1


def _shown(repo: StoredRepo, entry: dict[str, Any]) -> dict[str, Any]:
    keys = ("num", "title", "status", "isPullRequest", "createdAt")
    found = {key: entry[key] for key in keys} | {"author": {"name": entry["author"]}}
    found["repo"] = {"name": repo.id, "type": repo.kind}
    text = {"latest": {"raw": entry["text"], "updatedAt": entry["createdAt"], "html": ""}, "edited": False}
    event = {
        "id": "1",
        "type": "comment",
        "createdAt": entry["createdAt"],
        "author": {"name": entry["author"]},
    }
    found["events"] = [{**event, "data": {**text, "hidden": False}}]
    if entry["isPullRequest"]:
        found["changes"] = {"base": "main", "mergeCommitId": entry["merged"]}
        found["filesWithConflicts"] = _conflicts(repo, entry)
    return found


def _conflicts(repo: StoredRepo, entry: dict[str, Any]) -> list[str]:
    base, mine, theirs = repo.tree(entry["base"]), repo.tree("main"), repo.tree(entry["head"])
    paths = sorted({*base, *mine, *theirs})
    if entry["status"] == "merged":
        return []
    return [
        p for p in paths if mine.get(p) != base.get(p) and theirs.get(p) not in (base.get(p), mine.get(p))
    ]


@answers("GET", "/api/{T}/{id}/discussions")
def discussions(asked: Asked) -> Response:
    repo, query = asked.repo("see"), asked.request.query_params
    found = [_shown(repo, entry) for entry in repo.record["discussions"]]
    if query.get("type") in ("discussion", "pull_request"):
        found = [entry for entry in found if entry["isPullRequest"] == (query["type"] == "pull_request")]
    if query.get("author"):
        found = [entry for entry in found if entry["author"]["name"] == query["author"]]
    if query.get("status") in ("open", "closed"):
        found = [
            entry for entry in found if (entry["status"] in ("open", "draft")) == (query["status"] == "open")
        ]
    return JSONResponse({"discussions": found, "count": len(found), "start": 0})


@answers("POST", "/api/{T}/{id}/discussions")
def discuss(asked: Asked) -> Response:
    repo, body = asked.repo("read"), asked.json
    check_known(asked.who)
    head = repo.head if body.get("pullRequest") else ""
    return JSONResponse(
        {"num": open_discussion(repo, body["title"], body.get("description", ""), asked.who.name, head)}
    )


def _discussion(repo: StoredRepo, number: str) -> dict[str, Any]:
    found = [entry for entry in repo.record["discussions"] if entry["num"] == int(number)]
    if not found:
        raise RefusalError(404, f"No discussion {number}")
    return found[0]


@answers("GET", "/api/{T}/{id}/discussions/{number}")
def discussion(asked: Asked) -> Response:
    repo = asked.repo("see")
    return JSONResponse(_shown(repo, _discussion(repo, asked.parts["number"])))


@answers("POST", "/api/{T}/{id}/discussions/{number}/{name}")
def act(asked: Asked) -> Response:
    """merge or status."""
    repo, action = asked.repo("write"), asked.parts["name"]
    entry, changes = _discussion(repo, asked.parts["number"]), {}
    if action == "merge":
        if _conflicts(repo, entry):
            raise RefusalError(409, "There are merge conflicts")
        base, tree, theirs = repo.tree(entry["base"]), dict(repo.tree("main")), repo.tree(entry["head"])
        for path in {path for path in {*base, *theirs} if base.get(path) != theirs.get(path)}:
            tree.pop(path, None) if path not in theirs else tree.update({path: theirs[path]})
        oid = repo.write_commit(
            repo.head, tree, entry["title"], asked.json.get("comment") or "", asked.who.name
        )
        advance(repo, "main", oid)
        changes = {"status": "merged", "merged": oid}
    elif action == "status":
        changes = {"status": asked.json["status"]}
    kept = repo.record["discussions"]
    repo.update(
        discussions=[{**other, **changes} if other["num"] == entry["num"] else other for other in kept]
    )
    event = {"id": "2", "type": "status-change", "createdAt": now(), "author": {"name": asked.who.name}}
    return JSONResponse({"newStatus": {**event, "data": changes}, "repo": KINDS[repo.kind]})
