"""Collections."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from stand_in_accounts import check_known, check_namespace
from stand_in_refusal import RefusalError
from stand_in_routing import Asked, answers
from stand_in_storage import now, write_whole
from starlette.responses import JSONResponse, Response

SLUG = "/api/collections/{id}"


def _all(asked: Asked) -> dict[str, Any]:
    path = asked.hub.storage.root / "collections.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _keep(asked: Asked, slug: str, entry: dict[str, Any] | None) -> None:
    kept = {**_all(asked), slug: entry and {**entry, "lastUpdated": now()}}
    found = {name: value for name, value in kept.items() if value is not None}
    write_whole(asked.hub.storage.root / "collections.json", json.dumps(found, indent=1).encode())


def _one(asked: Asked, write: bool = False) -> dict[str, Any]:
    entry = _all(asked).get(asked.parts["id"])
    if entry is None or (entry["private"] and not asked.who.role_in(entry["owner"]["name"])):
        raise RefusalError(404, "Collection not found")
    if write:
        check_namespace(asked.who, entry["owner"]["name"])
    return entry


@answers("POST", "/api/collections")
def create(asked: Asked) -> Response:
    body, title = asked.json, asked.json["title"]
    check_namespace(asked.who, body["namespace"])
    start = f"{body['namespace']}/{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}-"
    for slug in _all(asked):
        if slug.startswith(start) and len(slug) == len(start) + 24:
            raise RefusalError(409, f"Collection exists already: {slug}", slug=slug)
    slug = start + secrets.token_hex(12)
    entry = {"slug": slug, "title": title, "owner": {"name": body["namespace"], "type": "user"}, "items": []}
    entry |= {"position": 0, "private": bool(body.get("private")), "theme": "orange", "upvotes": 0}
    _keep(asked, slug, {**entry, "description": body.get("description")})
    return JSONResponse(_all(asked)[slug])


@answers("GET", "/api/collections")
def listing(asked: Asked) -> Response:
    owner, item = asked.request.query_params.get("owner"), asked.request.query_params.get("item")
    found = [
        entry
        for entry in _all(asked).values()
        if owner in (None, entry["owner"]["name"])
        and (item is None or item in [f"{row['type']}s/{row['id']}" for row in entry["items"]])
        and (not entry["private"] or asked.who.role_in(entry["owner"]["name"]))
    ]
    return JSONResponse(
        [{key: value for key, value in entry.items() if key != "position"} for entry in found]
    )


@answers("GET", SLUG)
def show(asked: Asked) -> Response:
    return JSONResponse(_one(asked))


@answers("PATCH", SLUG)
def change(asked: Asked) -> Response:
    entry = _one(asked, write=True) | asked.json
    _keep(asked, entry["slug"], entry)
    return JSONResponse({"success": True, "data": entry})


@answers("DELETE", SLUG)
def delete(asked: Asked) -> Response:
    _keep(asked, _one(asked, write=True)["slug"], None)
    return Response("OK")


@answers("POST", SLUG + "/items")
def add(asked: Asked) -> Response:
    check_known(asked.who)
    entry, item = _one(asked, write=True), asked.json["item"]
    if any((row["id"], row["type"]) == (item["id"], item["type"]) for row in entry["items"]):
        raise RefusalError(409, "The item is in the collection already")
    if (
        item["type"] in ("model", "dataset", "space")
        and not asked.hub.storage.repo(item["id"], item["type"]).exists
    ):
        raise RefusalError(404, f"There is no {item['type']} {item['id']}")
    row = {
        "_id": secrets.token_hex(12),
        "id": item["id"],
        "type": item["type"],
        "position": len(entry["items"]),
    }
    note = asked.json.get("note")
    row |= {"note": {"text": note, "html": note}} if note else {}
    entry["items"].append(row)
    _keep(asked, entry["slug"], entry)
    return JSONResponse(_all(asked)[entry["slug"]])


@answers("DELETE", SLUG + "/items/{name}")
def remove(asked: Asked) -> Response:
    entry = _one(asked, write=True)
    entry["items"] = [row for row in entry["items"] if row["_id"] != asked.parts["name"]]
    _keep(asked, entry["slug"], entry)
    return Response("OK")
