"""Answers of models that a server has: TGI, every server of its Messages API, and Hugging Face."""

from __future__ import annotations

from chatdoctor_hub.inference.endpoint.dialects import DIALECTS, Dialect
from chatdoctor_hub.inference.endpoint.engine import EndpointEngine
from chatdoctor_hub.inference.endpoint.probing import ServerInfo

__all__ = ["DIALECTS", "Dialect", "EndpointEngine", "ServerInfo"]
