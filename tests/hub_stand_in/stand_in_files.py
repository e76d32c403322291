"""The files of a revision: trees, paths, histories, downloads."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from stand_in_refusal import RefusalError, no_such_entry
from stand_in_routing import Asked, answers
from stand_in_storage import KINDS, StoredRepo, git_hash
from starlette.responses import FileResponse, JSONResponse, Response

PAGE = 1000


def row(path: str, entry: dict[str, Any]) -> dict[str, Any]:
    """A file as a tree lists it."""
    found: dict[str, Any] = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
    if "sha256" in entry:
        found["lfs"] = {"oid": entry["sha256"], "size": entry["size"], "pointerSize": entry["pointer_size"]}
    if "xet_hash" in entry:
        found["xetHash"] = entry["xet_hash"]
    return found


def rows(tree: dict[str, Any], under: str, recursive: bool) -> list[dict[str, Any]]:
    """What lies under a folder: its files and folders, or with `recursive` all below."""
    start = f"{under}/" if under else ""
    found: dict[str, dict[str, Any]] = {}
    for path, entry in sorted(tree.items()):
        if not path.startswith(start):
            continue
        steps = path[len(start) :].split("/")
        for depth in range(1, len(steps) if recursive else min(len(steps), 2)):
            folder = start + "/".join(steps[:depth])
            oid = git_hash(folder.encode())
            found.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder})
        if recursive or len(steps) == 1:
            found[path] = row(path, entry)
    return list(found.values())


def _expanded(repo: StoredRepo, revision: str, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the last commit that touched each file, and a verdict on its safety."""
    history = repo.history(revision)
    for item in listed:
        last = history[-1]
        for commit, before in zip(history, [*(c["tree"] for c in history[1:]), {}], strict=True):
            if _content(commit["tree"], item["path"]) != _content(before, item["path"]):
                last = commit
                break
        item["lastCommit"] = {"id": last["oid"], "title": last["title"], "date": last["date"]}
        item["security"] = {"blobId": item["oid"], "name": item["path"], "safe": True, "status": "safe",
                            "avScan": None, "pickleImportScan": None}  # fmt: skip
    return listed


def _content(tree: dict[str, Any], path: str) -> list[tuple[str, str]]:
    return [
        (name, entry["oid"]) for name, entry in tree.items() if name == path or name.startswith(f"{path}/")
    ]


@answers("GET", "/api/{T}/{id}/tree/{rev}")
def tree(asked: Asked) -> Response:
    repo, revision = asked.repo("see"), asked.parts["rev"]
    under = asked.parts.get("path", "").strip("/")
    found = rows(repo.tree(revision), under, asked.asks("recursive"))
    if under and not found:
        raise no_such_entry(under, repo.resolve(revision))
    start = int(asked.request.query_params.get("cursor", "0"))
    end = start + int(asked.request.query_params.get("limit", PAGE))
    page, headers = found[start:end], {}
    if end < len(found):
        following = asked.request.url.include_query_params(cursor=end)
        headers["Link"] = (
            f'<{asked.hub.url}{asked.request.scope["raw_path"].decode()}?{following.query}>; rel="next"'
        )
    return JSONResponse(_expanded(repo, revision, page) if asked.asks("expand") else page, headers=headers)


answers("GET", "/api/{T}/{id}/tree/{rev}/{path}")(tree)


@answers("POST", "/api/{T}/{id}/paths-info/{rev}")
def paths_info(asked: Asked) -> Response:
    repo, revision, form = asked.repo("see"), asked.parts["rev"], asked.form
    wanted = {path.strip("/") for path in form.get("paths", [])}
    found = [item for item in rows(repo.tree(revision), "", recursive=True) if item["path"] in wanted]
    expand = form.get("expand", ["false"])[0].lower() in ("1", "true")
    return JSONResponse(_expanded(repo, revision, found) if expand else found)


@answers("GET", "/api/{T}/{id}/commits/{rev}")
def commits(asked: Asked) -> Response:
    found = [
        {
            "id": commit["oid"],
            "title": commit["title"],
            "message": commit["message"],
            "authors": [{"user": commit["author"]}],
            "date": commit["date"],
        }
        for commit in asked.repo("see").history(asked.parts["rev"])
    ]
    return JSONResponse(found)


@answers("GET HEAD", "/{prefix}{id}/resolve/{rev}/{path}")
def resolve(asked: Asked) -> Response:
    repo, path = asked.repo("read"), asked.parts["path"]
    commit = repo.resolve(asked.parts["rev"])
    entry = repo.tree(commit).get(path)
    if entry is None:
        raise no_such_entry(path, commit)
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if "sha256" not in entry:
        headers["ETag"] = f'"{entry["oid"]}"'
        return FileResponse(repo.path_of(entry), headers=headers, media_type="text/plain; charset=utf-8")
    headers["X-Linked-Etag"] = f'"{entry["sha256"]}"'
    headers["X-Linked-Size"] = str(entry["size"])
    headers["Location"] = asked.hub.signed("GET", f"/{KINDS[repo.kind]}/{repo.id}/{entry['sha256']}")
    if "xet_hash" in entry and asked.hub.xet:
        headers["X-Xet-Hash"] = entry["xet_hash"]
        token = f"{asked.hub.url}/api/{KINDS[repo.kind]}/{repo.id}/xet-read-token/{commit}"
        headers["Link"] = f'<{token}>; rel="xet-auth"'
    return Response(status_code=302, headers=headers)


@answers("GET HEAD", "/{prefix}{id}/raw/{rev}/{path}")
def raw(asked: Asked) -> Response:
    """A file as git holds it: of a large one the pointer."""
    repo, path = asked.repo("read"), asked.parts["path"]
    entry = repo.tree(asked.parts["rev"]).get(path)
    if entry is None:
        raise no_such_entry(path, repo.resolve(asked.parts["rev"]))
    if "sha256" not in entry:
        return FileResponse(repo.path_of(entry), media_type="text/plain; charset=utf-8")
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{entry['sha256']}\nsize {entry['size']}\n"
    )
    return Response(pointer, media_type="text/plain")


@answers("GET HEAD", "/{prefix}{id}")
def page(asked: Asked) -> Response:
    """The page of a repository, for people."""
    repo = asked.repo("see")
    return Response(f"<title>{quote(repo.id)}</title>", media_type="text/html")


@answers("GET", "/storage/{T}/{id}/{sha}")
def stored(asked: Asked) -> Response:
    """The bytes of a large file, on the other host: a signature in the address lets in, a token is a leak."""
    check_signature(asked)
    repo, sha256 = asked.hub.storage.repo(asked.parts["id"], asked.kind), asked.parts["sha"]
    if not repo.exists or not repo.has_large(sha256):
        raise RefusalError(404, "NoSuchKey")
    return FileResponse(repo.folder / "large" / sha256, headers={"ETag": f'"{sha256}"'})


def check_signature(asked: Asked) -> None:
    """Raises: RefusalError (400, 403), also when the Hub's token was sent along."""
    if asked.request.headers.get("authorization"):
        raise RefusalError(
            400, "Only one auth mechanism allowed: the Hub's token was sent to the host of the files"
        )
    if not asked.hub.is_signed(asked.request):
        raise RefusalError(403, "SignatureDoesNotMatch")
