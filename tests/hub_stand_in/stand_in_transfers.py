"""Large files by LFS: the batch, uploads in one piece or in parts to the other host, and the verification."""

from __future__ import annotations

import hashlib
import math
import shutil
from typing import Any

from stand_in_files import check_signature
from stand_in_refusal import RefusalError
from stand_in_routing import Asked, answers
from stand_in_storage import KINDS, StoredRepo, write_whole
from stand_in_xet import upload_connection, xet_folder
from starlette.responses import JSONResponse, Response

GIT = "application/vnd.git-lfs+json"


@answers("POST", "/{prefix}{id}.git/info/lfs/objects/batch")
def batch(asked: Asked) -> Response:
    repo, body = asked.repo_to_change(for_pr=True), asked.json
    if body.get("operation") != "upload" or body.get("hash_algo", "sha256") != "sha256":
        raise RefusalError(400, "operation must be upload and hash_algo sha256")
    if asked.hub.xet and "xet" in body.get("transfers", ()):
        objects = [_xet_object(asked, repo, entry) for entry in body["objects"]]
        return JSONResponse({"transfer": "xet", "objects": objects}, media_type=GIT)
    parted = "multipart" in body.get("transfers", ())
    objects = [_object(asked, repo, entry["oid"], entry["size"], parted) for entry in body["objects"]]
    transfer = "multipart" if any("chunk_size" in _header(entry) for entry in objects) else "basic"
    return JSONResponse({"transfer": transfer, "objects": objects}, media_type=GIT)


def _header(entry: dict[str, Any]) -> dict[str, str]:
    return entry.get("actions", {}).get("upload", {}).get("header", {})


def _xet_object(asked: Asked, repo: StoredRepo, entry: dict[str, Any]) -> dict[str, Any]:
    found = {"oid": entry["oid"], "size": entry["size"], "authenticated": True}
    if repo.has_large(entry["oid"]):
        return found
    token = f"{asked.hub.url}/api/{KINDS[repo.kind]}/{repo.id}/xet-write-token/main"
    return {
        **found,
        "actions": {"upload": {"href": token, "header": upload_connection(asked, xet_folder(repo))[1]}},
    }


def _object(asked: Asked, repo: StoredRepo, oid: str, size: int, parted: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"oid": oid, "size": size, "authenticated": True}
    if repo.has_large(oid):
        return found
    base, hub = f"/{KINDS[repo.kind]}/{repo.id}/{oid}", asked.hub
    upload: dict[str, Any] = {"href": hub.signed("PUT", base)}
    if parted and size > hub.multipart_above:
        pieces = math.ceil(size / hub.part_size)
        links = {str(n): hub.signed("PUT", f"{base}/{n}") for n in range(1, pieces + 1)}
        path = f"/api/complete_multipart/{KINDS[repo.kind]}/{repo.id}/{oid}"
        done = f"{hub.url}{path}?size={size}&signature={hub.signature('POST', path)}"
        upload = {"href": done, "header": {"chunk_size": str(hub.part_size), **links}}
    verify = {"href": f"{hub.url}/{repo.prefix}{repo.id}.git/info/lfs/objects/verify"}
    return {**found, "actions": {"upload": upload, "verify": verify}}


def _receiving(asked: Asked) -> StoredRepo:
    repo = asked.hub.storage.repo(asked.parts["id"], asked.kind)
    if not repo.exists:
        raise RefusalError(404, "NoSuchBucket")
    return repo


def _keep(repo: StoredRepo, oid: str, data: bytes) -> None:
    """Bytes are kept under their true sha256 or not at all."""
    if hashlib.sha256(data).hexdigest() != oid:
        raise RefusalError(400, "XAmzContentSHA256Mismatch: the bytes received are not those of the oid")
    write_whole(repo.folder / "large" / oid, data)


@answers("PUT", "/storage/{T}/{id}/{sha}")
def put(asked: Asked) -> Response:
    check_signature(asked)
    _keep(_receiving(asked), asked.parts["sha"], asked.body)
    return Response(headers={"ETag": f'"{asked.parts["sha"]}"'})


@answers("PUT", "/storage/{T}/{id}/{sha}/{number}")
def put_part(asked: Asked) -> Response:
    check_signature(asked)
    repo, number = _receiving(asked), asked.parts["number"]
    write_whole(repo.folder / "parts" / asked.parts["sha"] / number, asked.body)
    return Response(headers={"ETag": f'"{hashlib.md5(asked.body).hexdigest()}"'})


@answers("POST", "/api/complete_multipart/{T}/{id}/{sha}")
def complete(asked: Asked) -> Response:
    """Put the parts together; each ETag must be that of the part that is stored."""
    check_signature(asked)
    repo, oid = _receiving(asked), asked.parts["sha"]
    folder, pieces = repo.folder / "parts" / oid, []
    for part in sorted(asked.json["parts"], key=lambda part: part["partNumber"]):
        path = folder / str(part["partNumber"])
        if not path.exists():
            raise RefusalError(400, f"InvalidPart: part {part['partNumber']} was not uploaded")
        pieces.append(path.read_bytes())
        if part["etag"].strip('"') != hashlib.md5(pieces[-1]).hexdigest():
            raise RefusalError(400, f"InvalidPart: the ETag of part {part['partNumber']} is another one")
    data = b"".join(pieces)
    if len(data) != int(asked.request.query_params["size"]):
        raise RefusalError(
            400, f"{len(data)} bytes were uploaded, {asked.request.query_params['size']} announced"
        )
    _keep(repo, oid, data)
    shutil.rmtree(folder)
    return JSONResponse({"oid": oid})


@answers("POST", "/{prefix}{id}.git/info/lfs/objects/verify")
def verify(asked: Asked) -> Response:
    repo, oid = asked.repo_to_change(for_pr=True), asked.json["oid"]
    if not repo.has_large(oid) or repo.large_entry(oid)["size"] != asked.json["size"]:
        raise RefusalError(404, f"Object {oid} was not uploaded")
    return JSONResponse({"oid": oid, "size": asked.json["size"]}, media_type=GIT)
