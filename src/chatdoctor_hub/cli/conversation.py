"""A conversation in the terminal."""

from __future__ import annotations

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from rich.console import Console
from rich.markup import escape

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.inference import LocalEngine
from chatdoctor_hub.langchain import ChatDoctor

__all__ = ["converse"]


def converse(
    model: str, *, revision: str | None = None, temperature: float, max_tokens: int, console: Console
) -> None:
    """Read the patient's lines, stream the doctor's answers, until an empty line or the end of input.

    A conversation that has grown too long for the model loses its oldest exchanges, and says so.

    Raises:
        ChatDoctorError: when the model cannot be loaded or cannot answer.
    """
    # Loaded before the first question, so that a model that cannot be used is found out at once.
    llm = ChatDoctor(
        engine=LocalEngine(model, revision=revision), temperature=temperature, max_tokens=max_tokens
    )
    console.print(
        "[bold yellow]No doctor and no medical device: do not act on what it says. In an emergency call the "
        "emergency services.[/]\nAn empty line ends the chat.",
        soft_wrap=True,
    )
    history: list[BaseMessage] = []
    while words := _ask(console):
        history.append(HumanMessage(words))
        answer = _answer(llm, history, console)
        history.append(AIMessage(answer))


def _ask(console: Console) -> str:
    try:
        return console.input("\n[bold]You:[/] ").strip()
    except EOFError:
        return ""


def _answer(llm: ChatDoctor, history: list[BaseMessage], console: Console) -> str:
    while True:
        answer = ""
        try:
            for number, chunk in enumerate(llm.stream(history)):
                if number == 0:
                    console.print("[bold]Doctor:[/] ", end="")
                answer += chunk.text
                console.print(escape(chunk.text), end="", highlight=False, soft_wrap=True)
        except ContextLengthError:
            if len(history) < 3:
                raise
            del history[:2]
            console.print("[dim](the oldest exchange no longer fits and is left out)[/]")
            continue
        console.print()
        return answer
