"""The address of a server, and whose token may go there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from chatdoctor_hub.errors import ConfigError

__all__ = ["Address", "token_for"]

_TAILS = ("/v1/chat/completions", "/chat/completions", "/v1")
# Not hf.space: whoever made a Space runs their own program there.
_HUGGING_FACE = ("huggingface.co", "endpoints.huggingface.cloud", "aws.endpoints.huggingface.cloud")


@dataclass(frozen=True)
class Address:
    """Where a server of the Messages API is.

    Args:
        root: its URL without "/v1…" and without a slash at the end.
        shown: the same without anything secret, for messages.
        loopback: whether it is this machine.
        host: its name, lower case.
        secure: whether the connection is encrypted.
    """

    root: str = field(repr=False)
    shown: str
    loopback: bool
    host: str
    secure: bool

    @classmethod
    def read(cls, url: str) -> Address:
        """Take "http://host:8080", "https://host/v1", "https://host/prefix/v1/chat/completions" for what they are.

        Raises:
            ConfigError: for what is no URL of a server.
        """
        parts = _parts(url)
        path = parts.path.rstrip("/")
        for tail in _TAILS:
            path = path.removesuffix(tail)
        host = (parts.hostname or "").lower()
        shown = f"{parts.scheme}://{_bare(parts)}{path}"
        return cls(
            f"{parts.scheme}://{parts.netloc}{path}", shown, _is_loopback(host), host, parts.scheme == "https"
        )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError):
        good = False
    if not good or parts.query or parts.fragment:
        raise ConfigError(
            "Expected base_url to be the address of a server, such as 'http://localhost:8080', found something else"
            " (it needs http:// or https:// and a host, and may have no '?' or '#'); correct it."
        )
    return parts


def _bare(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_for(address: Address | None, given: Any) -> str | None:
    """The token that requests to an address carry.

    Args:
        address: of the server; None for models that Hugging Face hosts.
        given: what the caller gave for this very address (a string, or an object with `get_secret_value`); False
            for none; None for the one that this machine is logged in with (HF_TOKEN), which goes to hosts of
            Hugging Face over an encrypted connection, and to no other.
    """
    if given is False:
        return None
    if given is not None:
        value = given.get_secret_value() if hasattr(given, "get_secret_value") else given
        return str(value) or None
    ours = address is None or (
        address.secure
        and any(address.host == host or address.host.endswith(f".{host}") for host in _HUGGING_FACE)
    )
    if not ours:
        return None
    from huggingface_hub import get_token

    return get_token()
