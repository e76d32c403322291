"""What callers send and people say: system messages of every shape, and words that are hard to render."""

from __future__ import annotations

from typing import Any

from chat_families import FAMILIES
from hypothesis import strategies as st

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.prompts import PromptPair

PAIR = PromptPair.load("chatdoctor@1")
SAFETY, TASK, SERVING = PAIR.safety, PAIR.training_text, PAIR.serving_text
TALK = [
    {"role": "user", "content": "It “hurts” {{ here }} – für Stunden {% x %}."},
    {"role": "assistant", "content": "Since when?"},
    {"role": "user", "content": "Monday"},
]


def system(content: Any, role: str = "system") -> dict[str, Any]:
    return {"role": role, "content": content}


def text_part(text: Any) -> dict[str, Any]:
    return {"type": "text", "text": text}


# name -> (what the caller puts first, what of it is the caller's own)
LEADS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "nothing": ([], ""),
    "own words": ([system("  Be brief.\n")], "Be brief."),
    "no words": ([system(" \n")], ""),
    "no content": ([system(None)], ""),
    "the safety text": ([system(SAFETY)], ""),
    "the task": ([system(TASK)], ""),
    "the serving text": ([system(SERVING)], ""),
    "the serving text and own words": ([system(f"{SERVING}\n\nBe brief.")], "Be brief."),
    "own words and the serving text": ([system(f"Be brief.\n\n{SERVING}\n")], "Be brief."),
    "the safety text, twice": ([system(f"{SAFETY} {SAFETY}")], ""),
    "a developer": ([system("Be brief.", "developer")], "Be brief."),
    "parts": (
        [system([text_part(" Be"), "brief. ", {"type": "image"}, text_part(SAFETY), text_part(None)])],
        "Be\n\nbrief.",
    ),
    "no parts": ([system([])], ""),
    "several": (
        [system("Be brief."), system(""), system(SAFETY, "developer"), system(TASK), system("Be kind.")],
        "Be brief.",
    ),
    "the safety text in halves": ([system(SAFETY[:90] + SAFETY + SAFETY[90:])], SAFETY[:90].strip()),
}
LATE = [
    system(f"Now {SAFETY} be kind."),
    system(SERVING, "developer"),
    system([text_part("Speak Latin.")]),
    {"role": "user", "content": "Ok"},
]

_FRAGMENTS = st.sampled_from(
    [
        SAFETY,
        TASK,
        SERVING,
        SAFETY[:40],
        SAFETY[40:],
        TASK[:9],
        TASK[9:],
        "Be brief.",
        "\n\n",
        "\n",
        " ",
        "é",
        "",
    ]
)
_TEXTS = st.lists(_FRAGMENTS, max_size=6).map("".join)
_PARTS = st.lists(st.one_of(_TEXTS, _TEXTS.map(text_part), st.just({"type": "image"})), max_size=3)
SYSTEMS = st.lists(
    st.builds(system, st.one_of(_TEXTS, _PARTS, st.none()), st.sampled_from(["system", "developer"])),
    max_size=3,
)


def conversations(*, late: bool = True) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Messages as a caller might send them; `late`: with system messages in between as well."""
    said = st.text(min_size=1).filter(str.strip)
    turns = st.lists(said, min_size=1, max_size=4).map(
        lambda texts: [
            {"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)
        ]
    )
    return st.builds(
        lambda lead, turns, more: [*lead, *turns, *more], SYSTEMS, turns, SYSTEMS if late else st.just([])
    )


# Looks like what templates and the marks of the renderer are made of.
TRICKS = [
    "\ue000", "\ue001", "\ue000\ue001", "\ue0000\ue000", "\ue000\ue0010\ue000\ue001", "### Doctor:\n", "### Patient:\n",
    "{{ messages }}", "{% endfor %}", "{# x #}", "USER: ", " ASSISTANT: ", "Falcon: ", "0", "1", "\n", "\r\n", "\t",
    "\u200d", "\u2028", "\x00", "é", "e\u0301", "👩‍⚕️", SAFETY, TASK,
]  # fmt: skip
# Tokens of the families above, and halves of them.
TOKENS = sorted({token for spec in FAMILIES.values() for token in (*spec.special, *spec.plain)})
HALVES = ["<|", "|>", "<", ">", "</", "s>", "[", "/INST]", "<|im_", "end|>", "think>"]

PLAIN_WORDS = st.one_of(
    st.text(min_size=1, max_size=40), st.lists(st.sampled_from(TRICKS), min_size=1, max_size=6).map("".join)
).filter(lambda words: bool(words.strip()))
ANY_WORDS = st.one_of(
    PLAIN_WORDS,
    st.lists(st.sampled_from([*TOKENS, *HALVES, *TRICKS]), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda words: bool(words.strip())),
)


def dialogues(words: st.SearchStrategy[str]) -> st.SearchStrategy[Dialogue]:
    """Patient and doctor in turn, the patient first; sometimes with a system turn."""
    said = st.lists(words, min_size=2, max_size=5)
    lead = st.one_of(st.just(()), words.map(lambda text: (Turn("system", text),)))
    return st.builds(
        lambda first, texts: Dialogue(
            (*first, *(Turn(("patient", "doctor")[at % 2], text) for at, text in enumerate(texts)))
        ),
        lead,
        said,
    )
