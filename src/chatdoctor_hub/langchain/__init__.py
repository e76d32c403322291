"""LangChain: `ChatDoctor`, a chat model over any engine."""

from chatdoctor_hub.langchain.chat_model import ChatDoctor

__all__ = ["ChatDoctor"]
