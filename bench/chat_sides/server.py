"""A chat server whose answers cost nothing, so that what is measured is the client: TGI's form, canned.

An answer has as many words as `max_tokens` asks for. Streams are written in one go. The process ends with its input.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from typing import Any

WORD = "word "
_INFO = json.dumps({"model_id": "tgi", "max_total_tokens": 100_000, "version": "3.3.6"}).encode()
_MODELS = json.dumps(
    {"object": "list", "data": [{"id": "tgi", "object": "model", "owned_by": "org"}]}
).encode()


def _head(kind: str) -> dict[str, Any]:
    return {"object": kind, "id": "", "created": 1, "model": "tgi", "system_fingerprint": "3.3.6"}


@functools.cache
def whole(words: int) -> bytes:
    """The body of an answer in one piece."""
    message = {"role": "assistant", "content": WORD * words}
    usage = {"prompt_tokens": 20, "completion_tokens": words, "total_tokens": 20 + words}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json.dumps({**_head("chat.completion"), "choices": [choice], "usage": usage}).encode()


@functools.cache
def events(words: int) -> bytes:
    """The body of an answer in pieces, a word each."""
    made = []
    for number in range(words):
        delta = {"role": "assistant", "content": WORD}
        reason = "stop" if number == words - 1 else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        made.append({**_head("chat.completion.chunk"), "choices": [choice], "usage": None})
    usage = {"prompt_tokens": 20, "completion_tokens": words, "total_tokens": 20 + words}
    made.append({**_head("chat.completion.chunk"), "choices": [], "usage": usage})
    lines = [json.dumps(chunk, separators=(",", ":")) for chunk in made]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


def answer(head: bytes, body: bytes) -> bytes:
    """The whole HTTP answer to a request."""
    if head.startswith(b"GET"):
        path = head.split(b" ", 2)[1]
        return _page(_INFO if path == b"/info" else _MODELS, "application/json")
    asked = json.loads(body)
    words = asked.get("max_tokens") or asked.get("max_completion_tokens") or 1
    if asked.get("stream"):
        return _page(events(words), "text/event-stream")
    return _page(whole(words), "application/json")


def _page(body: bytes, kind: str) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind.encode(), len(body))
        + body
    )


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport, self._got = transport, b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head = self._got[:end]
            length = _length(head)
            if len(self._got) < end + 4 + length:
                return
            body, self._got = self._got[end + 4 : end + 4 + length], self._got[end + 4 + length :]
            self._transport.write(answer(head, body))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    return 0


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
