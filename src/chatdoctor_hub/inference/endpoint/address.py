"""The address of a server, and whose token may go there."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from chatdoctor_hub.errors import ConfigError

__all__ = ["Address", "token_for"]

_TAILS = ("/v1/chat/completions", "/chat/completions", "/v1")
# Not hf.space: whoever made a Space runs their own program there.
_HUGGING_FACE = ("huggingface.co", "endpoints.huggingface.cloud", "aws.endpoints.huggingface.cloud")


@dataclass(frozen=True)
class Address:
    """Where a server of the Messages API is.

    Args:
        root: its URL without "/v1…", a name or a password, and without a slash at the end.
        loopback: whether it is this machine.
        host: its name, lower case.
        secure: whether the connection is encrypted.
        login: name and password out of the URL, as basic authentication sends them; "" where it has none.
    """

    root: str
    loopback: bool
    host: str
    secure: bool
    login: str = field(default="", repr=False)

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
        login, _, bare = parts.netloc.rpartition("@")
        # Not left in the URL: httpx logs that.
        root = f"{parts.scheme}://{bare}{path}"
        return cls(root, _is_loopback(host), host, parts.scheme == "https", _basic(login))


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


def _basic(login: str) -> str:
    name, _, password = login.partition(":")
    return b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode() if login else ""


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
            Hugging Face over an encrypted connection, and to no other; nor where the URL has a name and a password.

    Raises:
        ConfigError: for a token that no header can carry.
    """
    if given is False:
        return None
    if given is not None:
        value = given.get_secret_value() if hasattr(given, "get_secret_value") else given
        value = str(value).strip()
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(
                "Expected api_key to be a token, found characters that none has (line breaks, or letters beyond ASCII);"
                " correct it."
            )
        return value or None
    ours = address is None or (
        address.secure
        and not address.login
        and any(address.host == host or address.host.endswith(f".{host}") for host in _HUGGING_FACE)
    )
    if not ours:
        return None
    from huggingface_hub import get_token

    return get_token()
