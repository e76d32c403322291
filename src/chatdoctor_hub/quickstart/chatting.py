"""The chat step: three questions to the LangChain chat model, each beside the table's rows for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.markup import escape

from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.knowledge import DiseaseTable
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.quickstart.display import Display
from chatdoctor_hub.quickstart.settings import QUESTIONS

__all__ = ["NOTICE", "chat"]

NOTICE = (
    "A model this small is a demonstration and no doctor: do not act on what it says. In an emergency call the "
    "emergency services."
)


def chat(release: Path, table: DiseaseTable, out: Path, display: Display) -> dict[str, Any]:
    """Ask, stream the answers to the terminal, and write them down."""
    llm = ChatDoctor(model=str(release), max_tokens=200, repetition_penalty=1.05)
    talks = []
    for question in QUESTIONS:
        display.console.print(f"\n    [bold]Patient:[/] {escape(question)}", highlight=False, soft_wrap=True)
        display.console.print("    [bold]Doctor:[/] ", end="")
        answer = ""
        for chunk in llm.stream(question):
            answer += chunk.text
            display.console.print(escape(chunk.text), end="", highlight=False, soft_wrap=True)
        display.console.print()
        hits = table.search(question, k=3)
        for hit in hits:
            display.console.print(
                f"      [dim]table: {escape(hit.disease.name)} ({hit.score:.1f}): {escape(', '.join(hit.matched))}[/]",
                highlight=False,
                soft_wrap=True,
            )
        if not hits:
            display.console.print("      [dim]table: no row matches[/]")
        rows = [
            {"name": hit.disease.name, "score": round(hit.score, 3), "line": hit.disease.line} for hit in hits
        ]
        talks.append({"question": question, "answer": answer, "rows": rows})
    with replacing_folder(out) as partial:
        text = json.dumps(talks, indent=2, ensure_ascii=False)
        (partial / "answers.json").write_text(text + "\n", encoding="utf-8")
    return {"questions": len(talks)}
