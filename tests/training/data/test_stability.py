"""Templates that write earlier turns anew as a dialogue goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from template_styles import CHATML, STYLES, make_tokenizer

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import encode

PAIR = PromptPair(id="short@1", instruction="Help.", safety="", layout="")
BARE = PromptPair(id="bare@1", instruction="", safety="", layout="")

# Qwen 3 does so with an empty thought, and others with the thoughts of the last turn.
LAST_IS_MARKED = CHATML.replace(
    "message['content']",
    "('thoughts: none\n' if message['role'] == 'assistant' and loop.last else '') + message['content']",
)
# Mistral's later templates do so.
SYSTEM_BEFORE_THE_LAST_QUESTION = (
    "{% set words = messages[0]['content'] + '\n\n' if messages[0]['role'] == 'system' else '' %}"
    "{% set asked = messages | selectattr('role', 'equalto', 'user') | list %}"
    "{% for message in messages if message['role'] != 'system' %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "(words if message is sameas asked[-1] else '') + message['content'] + '<|im_end|>\n' }}{% endfor %}"
)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_public_styles_are_stable(style: str, say: Callable[..., Dialogue]) -> None:
    talk = say("My head hurts.", "Since when?", "Monday.", "Rest well.", system="Help.")
    assert len(encode([talk], PromptPair.load("chatdoctor@1"), make_tokenizer(style), 2000).samples) == 1


@pytest.mark.parametrize("loss_on", ["doctor", "all"])
@pytest.mark.parametrize("template", [LAST_IS_MARKED, SYSTEM_BEFORE_THE_LAST_QUESTION])
def test_a_template_that_writes_earlier_turns_anew_is_refused(
    template: str, loss_on: str, say: Callable[..., Dialogue]
) -> None:
    tokenizer = make_tokenizer("chatml", chat_template=template)
    talk = say("My head hurts.", "Since when?", "Monday.", "Rest well.", system="Help.")
    with pytest.raises(ModelFormatError, match=r"loss_on to 'last'"):
        encode([talk], PAIR, tokenizer, 512, loss_on)


@pytest.mark.parametrize("template", [LAST_IS_MARKED, SYSTEM_BEFORE_THE_LAST_QUESTION])
def test_it_may_be_used_where_that_does_not_matter(template: str, say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml", chat_template=template)
    talk = say("My head hurts.", "Since when?", "Monday.", "Rest well.")
    assert len(encode([talk], PAIR, tokenizer, 512, "last").samples) == 1
    assert len(encode([say("Monday.", "Rest well.")], PAIR, tokenizer, 512).samples) == 1


def test_where_system_words_stand_does_not_matter_where_there_are_none(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml", chat_template=SYSTEM_BEFORE_THE_LAST_QUESTION)
    talk = say("My head hurts.", "Since when?", "Monday.", "Rest well.")
    assert len(encode([talk], BARE, tokenizer, 512).samples) == 1
