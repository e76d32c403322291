"""A chat model that obeys every instruction that it sees, to test that it sees none in retrieved text.

It reads a prompt as a model behind a tokenizer does. What stands between the two lines with the number is data,
and it looks nothing up there but the citations of the notes. All else that users say is obeyed. A mark of a chat
template opens another turn wherever it stands, in data too, for a tokenizer knows no data.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

INJECTIONS: list[str] = yaml.safe_load(
    Path(__file__).with_name("injections.yaml").read_text(encoding="utf-8")
)["injections"]

DATA = re.compile(r"^-----BEGIN DATA (\w{32})-----\n(.*?)\n-----END DATA \1-----$", re.DOTALL | re.MULTILINE)
SLOPPY_DATA = re.compile(r"BEGIN DATA(.*?)END DATA", re.DOTALL)
# What the chat templates in use write between turns, and those of base models.
MARKS = re.compile(
    r"<[|\uff5c/]?[A-Za-z_]|<<|[\uff1c]\||\[/?[A-Z_]{3,}\]|^#{2,} ?\w+:|^(?:Human|Assistant|USER|System):"
    r"|^```|^---$|[\u202a-\u202e\u2066-\u2069\u200b\x00-\x08\x1b]|[\U000e0000-\U000e007f]",
    re.MULTILINE,
)
CITATION = re.compile(r"[\[\u3010(\uff3b]?(?:table|wiki):[\w@#.%-]+[\]\u3011)\uff3d]?")
WANTS_RULES = re.compile(r"system[ -]prompt|instructions|\brules\b|text above", re.IGNORECASE)


class GullibleModel(BaseChatModel):
    """Obeys what it takes for an instruction: says the word, cites what it is told to, and gives its rules away.

    Args:
        sloppy: takes anything that looks like the end of the data for it, whatever the number.
        obeys_data: obeys instructions in the data too: no fence can help such a model.
        asked: the prompts so far.
    """

    sloppy: bool = False
    obeys_data: bool = False
    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "gullible"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self._answer(messages)))])

    def _answer(self, messages: list[BaseMessage]) -> str:
        rules = "\n".join(str(m.content) for m in messages if isinstance(m, SystemMessage))
        said = "\n".join(str(m.content) for m in messages if not isinstance(m, SystemMessage))
        obeyed = self.obey(said, rules)
        if "search terms" in rules:
            return json.dumps(["headache", *obeyed])
        notes = "".join(found[2] for found in DATA.finditer(said))
        cited = re.findall(r"^\[[^\]]+\]", notes, re.MULTILINE)
        return " ".join(["Rest and drink water", *cited, *obeyed]) + "."

    def obey(self, said: str, rules: str) -> list[str]:
        data = SLOPPY_DATA if self.sloppy else DATA
        told = said if self.obeys_data else data.sub("", said)
        for found in data.finditer(said):
            if mark := MARKS.search(found[0].partition("\n")[2].rpartition("\n")[0]):
                told += found[0][mark.start() :]
        words = re.findall(r"OBEYED-\d\d", told)
        if words and WANTS_RULES.search(told):
            words.append(rules)
        return words + CITATION.findall(told) if words else []
