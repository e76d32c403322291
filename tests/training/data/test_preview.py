"""One dialogue shown with what is learned of it."""

from __future__ import annotations

from collections.abc import Callable

from template_styles import make_tokenizer

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import encode_dialogue, preview

PAIR = PromptPair.load("chatdoctor@1")


def test_the_doctors_words_and_ends_stand_out(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml")
    talk = say("My head hurts.", "Since when?", "Monday.", "Rest well.")
    text = preview(encode_dialogue(talk, PAIR, tokenizer), tokenizer)
    assert text.plain == PAIR.render_training(talk, tokenizer)[0]
    styled = {(text.plain[span.start : span.end], str(span.style)) for span in text.spans}
    assert {("Since when?", "bold green"), ("Rest well.", "bold green")} <= styled
    assert ("<|im_end|>", "bold black on green") in styled
    assert ("<|im_end|>", "magenta") in styled  # of the patient's turn
    assert not any("hurts" in words and "green" in style for words, style in styled)


def test_words_that_look_like_markup_are_shown_as_they_are(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml")
    talk = say("My [red]head[/red] hurts.", "Rest [bold]well.")
    assert preview(encode_dialogue(talk, PAIR, tokenizer), tokenizer).plain.count("[bold]") == 1
