"""Repositories as wholes: whoami, create, delete, move, settings, information, branches, tags, access."""

from __future__ import annotations

from typing import Any

import stand_in_cards as cards
from stand_in_accounts import check_known, check_namespace, check_writable
from stand_in_refusal import RefusalError, no_such_repo
from stand_in_routing import Asked, answers
from stand_in_storage import KINDS, StoredRepo, now
from starlette.responses import JSONResponse, Response


@answers("GET", "/api/whoami-v2")
def whoami(asked: Asked) -> Response:
    check_known(asked.who)
    organisations = [
        {"type": "org", "name": name, "fullname": name, "id": name, "roleInOrg": role, "isEnterprise": False}
        for name, role in asked.who.organisations
    ]
    token = {"displayName": "stand-in", "role": asked.who.role, "createdAt": now()}
    name = asked.who.name
    found = {"type": "user", "id": name, "name": name, "fullname": name, "isPro": False, "avatarUrl": ""}
    auth = {"type": "access_token", "accessToken": token}
    return JSONResponse({**found, "orgs": organisations, "auth": auth})


def _named(asked: Asked) -> tuple[str, str]:
    body = asked.json
    kind, name = body.get("type") or "model", body.get("name")
    if kind not in KINDS or not isinstance(name, str):
        raise RefusalError(400, "type must be model, dataset or space, and name a string")
    return kind, f"{body.get('organization') or asked.who.name}/{name}"


@answers("POST", "/api/repos/create")
def create(asked: Asked) -> Response:
    check_known(asked.who)
    kind, name = _named(asked)
    check_namespace(asked.who, name.split("/")[0])
    repo = asked.hub.storage.repo(name, kind)
    url = f"{asked.hub.url}/{repo.prefix}{repo.id}"
    if repo.exists:
        message = f"You already created this {kind} repo: {repo.id}"
        raise RefusalError(409, message, url=url, id=repo.id)
    private = asked.json.get("visibility") == "private" or asked.json.get("private") is True
    asked.hub.storage.create(name, kind, private, asked.who.name)
    return JSONResponse({"url": url, "id": name, "name": name})


@answers("DELETE", "/api/repos/delete")
def delete(asked: Asked) -> Response:
    kind, name = _named(asked)
    repo = asked.hub.storage.repo(name, kind)
    if not repo.exists:
        raise no_such_repo(asked.who.anonymous)
    check_writable(asked.who, repo)
    asked.hub.storage.delete(repo)
    return Response("OK")


@answers("POST", "/api/repos/move")
def move(asked: Asked) -> Response:
    body = asked.json
    kind = body.get("type") or "model"
    repo = asked.hub.storage.repo(body["fromRepo"], kind)
    if not repo.exists:
        raise no_such_repo(asked.who.anonymous)
    check_writable(asked.who, repo)
    check_namespace(asked.who, body["toRepo"].split("/")[0])
    if asked.hub.storage.repo(body["toRepo"], kind).exists:
        raise RefusalError(409, f"{body['toRepo']} exists already")
    asked.hub.storage.move(repo, body["toRepo"])
    return Response("OK")


@answers("PUT", "/api/{T}/{id}/settings")
def settings(asked: Asked) -> Response:
    repo, body = asked.repo("write"), asked.json
    gated, visibility = body.get("gated", repo.gated), body.get("visibility")
    if gated not in (False, "auto", "manual") or visibility not in (None, "public", "private"):
        raise RefusalError(400, "gated must be auto, manual or false, and visibility public or private")
    private = body.get("private", repo.private) if visibility is None else visibility == "private"
    repo.update(gated=gated, private=private)
    return JSONResponse({"gated": gated, "private": private})


@answers("POST", "/api/validate-yaml")
def validate_yaml(asked: Asked) -> Response:
    errors, warnings = cards.check(asked.json.get("content", ""), asked.json.get("repoType", "model"))
    return JSONResponse({"errors": errors, "warnings": warnings}, 400 if errors else 200)


@answers("GET", "/api/{T}/{id}/auth-check")
def auth_check(asked: Asked) -> Response:
    asked.repo("read")
    return Response("OK")


@answers("GET", "/api/{T}/{id}/auth-check/write")
def auth_check_write(asked: Asked) -> Response:
    asked.repo("write")
    return Response("OK")


def about(repo: StoredRepo, revision: str = "main", blobs: bool = False) -> dict[str, Any]:
    """What the Hub tells of a repository at a revision."""
    commit = repo.commit(repo.resolve(revision))
    readme = commit["tree"].get("README.md")
    card = (
        cards.front_matter(repo.path_of(readme).read_text(encoding="utf-8", errors="replace"))
        if readme
        else {}
    )
    siblings = [
        {"rfilename": path, **(_blob(entry) if blobs else {})}
        for path, entry in sorted(commit["tree"].items())
    ]
    record = repo.record
    found = {
        "_id": repo.id, "id": repo.id, "author": repo.namespace, "sha": commit["oid"], "private": record["private"],
        "gated": record["gated"], "disabled": False, "lastModified": commit["date"], "createdAt": record["created"],
        "downloads": 0, "likes": 0, "tags": cards.tags(card), "cardData": card, "siblings": siblings, "spaces": [],
        "usedStorage": sum(entry["size"] for entry in commit["tree"].values()),
    }  # fmt: skip
    if repo.kind == "model":
        found["modelId"] = repo.id
        found.update(
            {key: card[key] for key in ("library_name", "pipeline_tag", "model-index") if key in card}
        )
    return found


def _blob(entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"size": entry["size"], "blobId": entry["oid"]}
    if "sha256" in entry:
        found["lfs"] = {
            "sha256": entry["sha256"],
            "size": entry["size"],
            "pointerSize": entry["pointer_size"],
        }
    return found


@answers("GET", "/api/{T}/{id}")
def info(asked: Asked) -> Response:
    return JSONResponse(about(asked.repo("see"), blobs=asked.asks("blobs")))


@answers("GET", "/api/{T}/{id}/revision/{rev}")
def info_of_revision(asked: Asked) -> Response:
    return JSONResponse(about(asked.repo("see"), asked.parts["rev"], asked.asks("blobs")))


@answers("GET", "/api/{T}")
def listing(asked: Asked) -> Response:
    query = asked.request.query_params
    seen = [
        repo
        for repo in asked.hub.storage.repos(asked.kind)
        if not repo.private or asked.who.role_in(repo.namespace)
    ]
    author, search = query.get("author"), query.get("search", "")
    return JSONResponse(
        [about(r) for r in seen if author in (None, r.namespace) and search.lower() in r.id.lower()]
    )


@answers("GET", "/api/{T}/{id}/refs")
def refs(asked: Asked) -> Response:
    repo = asked.repo("see")

    def rows(known: dict[str, str], under: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"{under}{name}", "targetCommit": oid} for name, oid in known.items()]

    found = {
        "branches": rows(repo.branches, "refs/heads/"),
        "tags": rows(repo.tags, "refs/tags/"),
        "converts": [],
    }
    if asked.asks("include_prs"):
        found["pullRequests"] = rows({str(entry["num"]): entry["head"] for entry in repo.prs}, "refs/pr/")
    return JSONResponse(found)


@answers("POST", "/api/{T}/{id}/tag/{rev}")
def tag(asked: Asked) -> Response:
    repo, name = asked.repo("write"), asked.json.get("tag")
    if not isinstance(name, str) or not name or " " in name:
        raise RefusalError(400, f"Invalid tag name: {name}")
    commit, tags = repo.resolve(asked.parts["rev"]), repo.record["tags"]
    if name in tags:
        raise RefusalError(409, f"Tag reference exists already: {name}")
    repo.update(tags={**tags, name: {"commit": commit, "message": asked.json.get("message", "")}})
    return Response("OK", 201)


@answers("DELETE", "/api/{T}/{id}/tag/{rev}")
def untag(asked: Asked) -> Response:
    repo, name = asked.repo("write"), asked.parts["rev"]
    tags = repo.record["tags"]
    if name not in tags:
        raise RefusalError(404, f"Tag not found: {name}", "RevisionNotFound")
    repo.update(tags={other: entry for other, entry in tags.items() if other != name})
    return Response("OK")


@answers("POST", "/api/{T}/{id}/branch/{rev}")
def branch(asked: Asked) -> Response:
    repo, name = asked.repo("write"), asked.parts["rev"]
    if name in repo.branches or name.startswith("refs/"):
        raise RefusalError(409, f"Reference already exists: {name}")
    start = repo.resolve(asked.json.get("startingPoint") or "main")
    repo.update(branches={**repo.branches, name: start})
    return Response("OK", 201)


@answers("DELETE", "/api/{T}/{id}/branch/{rev}")
def drop_branch(asked: Asked) -> Response:
    repo, name = asked.repo("write"), asked.parts["rev"]
    if name == "main":
        raise RefusalError(403, "Cannot delete the main branch")
    if name not in repo.branches:
        raise RefusalError(404, f"Branch not found: {name}", "RevisionNotFound")
    repo.update(branches={other: oid for other, oid in repo.branches.items() if other != name})
    return Response("OK")


@answers("POST", "/{prefix}{id}/ask-access")
def ask_access(asked: Asked) -> Response:
    repo = asked.repo("see")
    check_known(asked.who)
    key = "accepted" if repo.gated == "auto" else "asked"
    repo.update(**{key: sorted({*repo.record[key], asked.who.name})})
    return Response("OK")


@answers("POST", "/api/{T}/{id}/user-access-request/{name}")
def grant(asked: Asked) -> Response:
    repo, user = asked.repo("write"), asked.json.get("user")
    accepted, waiting = set(repo.accepted), set(repo.record["asked"])
    if asked.parts["name"] == "handle" and user not in accepted | waiting:
        raise RefusalError(404, f"{user} did not ask for access")
    let_in = asked.parts["name"] == "grant" or asked.json.get("status") == "accepted"
    repo.update(
        accepted=sorted(accepted | {user} if let_in else accepted - {user}), asked=sorted(waiting - {user})
    )
    return JSONResponse({"user": user})


@answers("GET", "/api/{T}/{id}/user-access-request/{name}")
def access_requests(asked: Asked) -> Response:
    repo, status = asked.repo("write"), asked.parts["name"]
    users = {"accepted": repo.accepted, "pending": repo.record["asked"]}.get(status, [])
    who = [
        {
            "requestId": user,
            "user": {"user": user, "fullname": user, "_id": user},
            "timestamp": now(),
            "status": status,
        }
        for user in users
    ]
    return JSONResponse(who)
