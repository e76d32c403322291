"""Whose token goes where."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from chatdoctor_hub.inference import ChatRequest
from chatdoctor_hub.inference.endpoint.address import Address, token_for

REQUEST = ChatRequest(({"role": "user", "content": "Hello"},))


@pytest.fixture(autouse=True)
def _logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://huggingface.co/x", True),
        ("https://router.huggingface.co/v1", True),
        ("https://abc.us-east-1.aws.endpoints.huggingface.cloud", True),
        ("http://router.huggingface.co/v1", False),  # not encrypted
        ("https://me-app.hf.space", False),  # anybody's program
        ("https://huggingface.co.evil.example", False),
        ("https://evilhuggingface.co", False),
        ("https://huggingface.co@evil.example/", False),
        ("https://evil.example/huggingface.co", False),
        ("http://localhost:8080", False),
        ("http://10.0.0.5:8080", False),
    ],
)
def test_the_token_of_this_machine_goes_to_hugging_face_only(url: str, ours: bool) -> None:
    address = Address.read(url)
    assert token_for(address, None) == ("hf_of_this_machine" if ours else None)
    assert token_for(address, "given") == "given"
    assert token_for(address, SecretStr("given")) == "given"
    assert token_for(address, False) is None


def test_hosted_models_get_it() -> None:
    assert token_for(None, None) == "hf_of_this_machine"
    assert token_for(None, "given") == "given"


def test_what_goes_over_the_wire(tgi, connect) -> None:
    connect(tgi.url).generate(REQUEST)
    assert not any("authorization" in headers for headers in tgi.headers)
    connect(tgi.url, api_key=SecretStr("given"), headers={"X-Mine": "1"}).generate(REQUEST)
    assert tgi.headers[-1]["authorization"] == "Bearer given"
    assert tgi.headers[-1]["x-mine"] == "1"


def test_without_the_hub(tgi, connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert connect(tgi.url).generate(REQUEST).text
    assert list(connect(tgi.url).stream(REQUEST))


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(tgi, connect, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert connect(tgi.url).generate(REQUEST).text
