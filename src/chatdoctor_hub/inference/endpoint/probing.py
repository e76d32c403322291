"""Finding out what kind of server is at an address, by asking for what only one kind has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import EndpointAccessError
from chatdoctor_hub.inference.endpoint.calls import Answer, Call, Program
from chatdoctor_hub.inference.endpoint.dialects import DIALECTS, Dialect
from chatdoctor_hub.inference.endpoint.faults import no_chat_server

__all__ = ["ServerInfo", "probe"]

_MODELS = "/v1/models"
_SHUT = (401, 403, 407)


@dataclass(frozen=True)
class ServerInfo:
    """What a server is.

    Args:
        dialect: how to speak with it.
        model: the name to send in `model`.
        serves: what it says that it serves, "" where it does not.
        context_length: tokens that prompt and answer may have together, where it says so.
        version: of the server, where it says so.
    """

    dialect: Dialect
    model: str
    serves: str = ""
    context_length: int | None = None
    version: str = ""


def probe(where: str, dialect: Dialect | None, model: str | None) -> Program[ServerInfo]:
    """Ask a server what it is.

    Args:
        where: its address, for messages.
        dialect: what the caller says that it is; None to find out.
        model: what the caller wants to have asked for, None for what it serves.

    Raises:
        EndpointAccessError: when it does not let us in.
        EndpointNotFoundError: when a web page is there.
    """
    shut: Answer | None = None
    if dialect is None or dialect.name == "tgi":
        answer = yield Call("/info", lenient=True)
        # A page of another kind there, or a closed door, says nothing of the other routes.
        if answer.status < 300 and (found := _tgi(answer.body, model)):
            return found
        shut = answer if answer.status in _SHUT else None
    answer = yield Call(_MODELS, lenient=True)
    # Where all is known that there is to learn, a token that may chat but not list will do.
    models = _let_in(answer, where) if dialect is None or model is None else answer.body
    listed = _listed(models)
    if shut is not None and not listed:
        _let_in(shut, where)
    if dialect is None:
        dialect = _by_models(listed, models)
    if dialect is None:
        answer = yield Call("/props", lenient=True)
        if isinstance(answer.body, Mapping) and "default_generation_settings" in answer.body:
            dialect = DIALECTS["llama_cpp"]
    if dialect is None:
        # It takes POST only, and says so; others have no such path.
        answer = yield Call("/load_model", lenient=True)
        dialect = DIALECTS["transformers" if answer.status == 405 else "openai"]
    return _of_models(listed, dialect, model)


def _let_in(answer: Answer, where: str) -> Any:
    if answer.status in _SHUT:
        raise EndpointAccessError(
            f"{where}: expected to be let in, found {answer.status}; give api_key for this address.",
            status=answer.status,
        )
    if answer.status < 400 and (answer.is_page or answer.status >= 300):
        found = "a web page" if answer.is_page else f"that it sends us elsewhere ({answer.status})"
        raise no_chat_server(where, found, answer.status)
    return answer.body if answer.status < 300 else None


def _tgi(body: Any, model: str | None) -> ServerInfo | None:
    if not isinstance(body, Mapping) or "model_id" not in body:
        return None
    length = body.get("max_total_tokens")
    dialect = DIALECTS["tgi"]
    return ServerInfo(
        dialect,
        model or str(dialect.default_model),
        str(body["model_id"]),
        length if isinstance(length, int) else None,
        str(body.get("version") or ""),
    )


def _listed(body: Any) -> list[Mapping[str, Any]]:
    data = body.get("data") if isinstance(body, Mapping) else None
    return [item for item in data if isinstance(item, Mapping)] if isinstance(data, list) else []


def _by_models(listed: list[Mapping[str, Any]], body: Any) -> Dialect | None:
    owners = {str(item.get("owned_by")) for item in listed}
    if "vllm" in owners or any("max_model_len" in item for item in listed):
        return DIALECTS["vllm"]
    if "me" in owners:
        return DIALECTS["llama_cpp_python"]
    if "llamacpp" in owners or (isinstance(body, Mapping) and "models" in body and listed):
        return DIALECTS["llama_cpp"]
    return None


def _of_models(listed: list[Mapping[str, Any]], dialect: Dialect, model: str | None) -> ServerInfo:
    first: Mapping[str, Any] = next(
        (item for item in listed if model is not None and item.get("id") == model),
        listed[0] if listed else {},
    )
    meta = first.get("meta")
    length = first.get("max_model_len") or (meta.get("n_ctx_train") if isinstance(meta, Mapping) else None)
    serves = str(first.get("id") or "")
    return ServerInfo(
        dialect,
        model or dialect.default_model or serves,
        serves,
        length if isinstance(length, int) else None,
    )
