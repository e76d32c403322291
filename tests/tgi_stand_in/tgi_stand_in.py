"""A stand-in for a server of Text Generation Inference, over loopback: its rules, an engine's answers.

with TgiStandIn(ScriptedEngine("Rest.")) as tgi:
    EndpointEngine(tgi.url).generate(request)
"""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from tgi_routes import Routes
from tgi_rules import Refused

from chatdoctor_hub.inference import Engine
from chatdoctor_hub.prompts import PromptPair


class TgiStandIn:
    """Serves what an engine answers in the manner of TGI.

    Args:
        engine: answers; it applies its own prompt pair, as a release's template does.
        model: the id of what is served.
        max_input_tokens: a longer prompt (in words) is refused.
        max_total_tokens: a prompt and the room for its answer that are longer together are refused.
        max_concurrent_requests: more than these are refused with 429.
        api_key: a token that requests must carry.
        adapters: ids of adapters that `model` may name.
        baked: serve a release of this pair: its chat template, with the serving form in it, renders the prompts.

    Attributes:
        requests: (path, body) of every request with a body, in their order.
        headers: of every request.
        most_at_once: how many requests were on their way together.
        failing: what to answer the next requests with, one entry a request: a `Refused`, or a response.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: str = "org/tiny-doctor",
        max_input_tokens: int = 4000,
        max_total_tokens: int = 8000,
        max_concurrent_requests: int = 10_000,
        api_key: str | None = None,
        adapters: tuple[str, ...] = (),
        baked: PromptPair | None = None,
    ) -> None:
        self._routes = Routes(engine, model, adapters, max_input_tokens, max_total_tokens, baked)
        self.prompt_of = self._routes.prompt_of
        self.model, self.max_concurrent_requests, self.api_key = model, max_concurrent_requests, api_key
        self.requests: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.failing: list[Any] = []
        self.most_at_once = self._at_once = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        routes = [
            Route(path, self._guarded(handler), methods=["POST"])
            for path, handler in self._routes.by_path().items()
        ]
        routes += [
            Route("/info", self._info),
            Route("/health", lambda request: Response()),
            Route("/v1/models", self._models),
        ]
        self._server = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=routes), log_level="critical", access_log=False, timeout_keep_alive=30
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> TgiStandIn:
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < until, "the stand-in does not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def chats(self) -> list[Any]:
        """The bodies of the requests for an answer."""
        return [body for path, body in self.requests if path == "/v1/chat/completions"]

    @property
    def twice_begun(self) -> int:
        """How many texts came with the token of the beginning written twice."""
        return self._routes.twice_begun

    def _guarded(self, handler: Any) -> Any:
        async def guarded(request: Request) -> Response:
            self.headers.append(dict(request.headers))
            if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
                return Response(status_code=401)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                if self._at_once > self.max_concurrent_requests:
                    raise Refused(429, "Model is overloaded", "overloaded")
                return await self._answered(handler, request)
            except Refused as refused:
                if refused.error_type is None:
                    return PlainTextResponse(refused.error, refused.status)
                return JSONResponse(
                    {"error": refused.error, "error_type": refused.error_type}, refused.status
                )
            finally:
                self._at_once -= 1

        return guarded

    async def _answered(self, handler: Any, request: Request) -> Response:
        body = json.loads(await request.body())
        self.requests.append((request.url.path, body))
        if self.failing:
            failing = self.failing.pop(0)
            if isinstance(failing, Response):
                return failing
            if failing is not None:
                raise failing
        answer: Response = await handler(request.url.path, body)
        return answer

    def _info(self, request: Request) -> Response:
        return JSONResponse(
            {
                "model_id": self.model,
                "model_sha": "0" * 40,
                "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": self.max_concurrent_requests,
                "max_best_of": 2,
                "max_stop_sequences": 4,
                "max_input_tokens": self._routes.max_input_tokens,
                "max_total_tokens": self._routes.max_total_tokens,
                "validation_workers": 2,
                "max_client_batch_size": 4,
                "router": "text-generation-router",
                "version": "3.3.6",
                "sha": None,
                "docker_label": None,
            }
        )

    def _models(self, request: Request) -> Response:
        one = {"id": self.model, "object": "model", "created": 0, "owned_by": self.model}
        return JSONResponse({"object": "list", "data": [one]})
