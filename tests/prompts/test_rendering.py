"""The text of a dialogue, and where in it the doctor speaks: exactly, whatever was said, in any family."""

from __future__ import annotations

import pytest
from callers import ANY_WORDS, PAIR, PLAIN_WORDS, SAFETY, SERVING, TALK, TASK, dialogues, system
from chat_families import FAMILIES, QWEN_3, make_tokenizer, tokenizer_of
from hypothesis import HealthCheck, given, settings

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.prompts import PromptPair, render_with_spans
from chatdoctor_hub.prompts.rendering import render, takes_system_role, template_of


def cut(text: str, spans: list[tuple[int, int]]) -> list[str]:
    flat = [place for span in spans for place in span]
    assert flat == sorted(flat)
    return [text[start:end] for start, end in spans]


def doctor(dialogue: Dialogue) -> list[str]:
    return [turn.content for turn in dialogue.doctor_turns]


def holds_a_token(name: str, dialogue: Dialogue) -> bool:
    said = [*(turn.content for turn in dialogue.turns)]
    spec = FAMILIES[name]
    return any(token in words for token in (*spec.special, *spec.plain) for words in said)


@given(dialogues(ANY_WORDS))
@settings(deadline=None)
def test_the_spans_are_the_doctors_turns_without_a_tokenizer(dialogue: Dialogue) -> None:
    text, spans = PAIR.render_training(dialogue)
    assert cut(text, spans) == doctor(dialogue)
    for turn in dialogue.patient_turns:
        assert turn.content in text


@given(dialogues(ANY_WORDS))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_spans_are_the_doctors_turns_in_every_family(family: str, dialogue: Dialogue) -> None:
    tokenizer = tokenizer_of(family)
    text, spans = PAIR.render_training(dialogue, tokenizer)
    said = cut(text, spans)
    if not holds_a_token(family, dialogue):
        assert said == doctor(dialogue)
    # Where there are control tokens they are broken by a space, and nothing else is changed.
    assert ["".join(words.split()) for words in said] == [
        "".join(words.split()) for words in doctor(dialogue)
    ]
    outside = text
    for start, end in reversed(spans):
        outside = outside[:start] + outside[end:]
    if not any(SAFETY in turn.content for turn in dialogue.patient_turns):
        assert SAFETY not in outside
    assert TASK in outside


@pytest.mark.parametrize("name", sorted(name for name in FAMILIES if FAMILIES[name].cue_is_prefix))
@given(dialogue=dialogues(PLAIN_WORDS))
@settings(deadline=None, max_examples=25)
def test_a_model_is_asked_as_it_was_taught(name: str, dialogue: Dialogue) -> None:
    """The prompt for a turn is what stands before that turn in training."""
    pytest.importorskip("transformers")
    tokenizer = tokenizer_of(name)
    text, spans = PAIR.render_training(dialogue, tokenizer)
    messages = dialogue.to_messages()
    for number, (start, _) in enumerate(spans):
        asked = [at for at, message in enumerate(messages) if message["role"] == "assistant"][number]
        prompt = PAIR.render_prompt(messages[:asked], tokenizer, form="training")
        assert prompt.rstrip() == text[:start].rstrip()


def test_each_form_in_each_family(family: str) -> None:
    tokenizer = tokenizer_of(family)
    serving, training = (PAIR.render_prompt(TALK, tokenizer, form=form) for form in ("serving", "training"))
    assert serving.count(SERVING) == 1
    assert SAFETY not in training
    assert training.count(TASK) == 1
    assert serving.replace(SERVING, TASK) == training
    assert takes_system_role(PAIR.training_template(tokenizer), tokenizer) == FAMILIES[family].system


@pytest.mark.parametrize("lead", [SAFETY, SERVING, f"Be brief. {SAFETY}"])
def test_training_text_is_pure_whatever_came_with_the_data(family: str, lead: str) -> None:
    dialogue = Dialogue((Turn("system", lead), Turn("patient", "It hurts."), Turn("doctor", "Where?")))
    for tokenizer in (None, tokenizer_of(family)):
        text, spans = PAIR.render_training(dialogue, tokenizer)
        assert SAFETY not in text
        assert TASK in text
        assert ("Be brief." in text) == ("Be brief." in lead)
        assert cut(text, spans) == ["Where?"]


def test_the_layout_to_the_letter() -> None:
    pair = PromptPair("x@1", "Task.", "Safety.", PAIR.layout)
    dialogue = Dialogue(
        (Turn("patient", "a"), Turn("doctor", "b"), Turn("patient", "c"), Turn("doctor", "d"))
    )
    text, spans = pair.render_training(dialogue)
    assert text == (
        "### Instruction:\nTask.\n\n### Patient:\na\n\n### Doctor:\nb\n\n### Patient:\nc\n\n### Doctor:\nd\n\n"
    )
    assert spans == [(52, 53), (83, 84)]
    assert pair.render_prompt([{"role": "user", "content": "a"}]) == (
        "### Instruction:\nSafety.\n\nTask.\n\n### Patient:\na\n\n### Doctor:\n"
    )


REWRITERS = {
    "upper case": "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}",
    "joined lines": "{% for m in messages %}{{ m['content'] | replace('\n\n', '\n') }}{% endfor %}",
    "escaped": "{% for m in messages %}{{ m['content'] | e }}{% endfor %}",
    "cut thoughts": QWEN_3,
    "dropped": "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}",
    "the last turn only": "{{ messages[-1]['content'] }}",
    "said twice": "{% for m in messages %}{{ m['content'] ~ m['content'] }}{% endfor %}",
    "backwards": "{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}",
}


@pytest.mark.parametrize("name", REWRITERS)
def test_a_template_that_rewrites_the_doctor_is_refused(name: str) -> None:
    pytest.importorskip("transformers")
    tokenizer = make_tokenizer(("<|endoftext|>", "<|im_start|>", "<|im_end|>"), (), REWRITERS[name])
    turns = (
        Turn("patient", "It hurts."),
        Turn("doctor", "<think>Where & when?</think>\n\nWhere?"),
        Turn("patient", "There."),
        Turn("doctor", "Rest."),
    )
    with pytest.raises(ModelFormatError, match="drops or rewrites") as caught:
        PAIR.render_training(Dialogue(turns), tokenizer)
    assert "hurts" not in str(caught.value)


REFUSERS = {
    "raises": "{{ raise_exception('No.') }}",
    "syntax": "{% for m in messages %}",
    "undefined": "{{ messages[0].nothing.at_all }}",
    "wrong type": "{% for m in messages %}{{ m['content'] + 5 }}{% endfor %}",
    "unsafe": "{{ messages.__class__.__mro__ }}{{ messages.append(1) }}",
}


@pytest.mark.parametrize("name", REFUSERS)
def test_a_template_that_refuses_is_told(name: str) -> None:
    pytest.importorskip("transformers")
    tokenizer = make_tokenizer(("<s>", "</s>"), (), REFUSERS[name])
    for pair, given_tokenizer in ((PAIR, tokenizer), (PromptPair("x@1", "a", "b", REFUSERS[name]), None)):
        with pytest.raises(ModelFormatError) as caught:
            pair.render_prompt(TALK, given_tokenizer)
        assert "\n" not in str(caught.value)
        assert "hurts" not in str(caught.value)


def test_roles_in_no_order_are_refused() -> None:
    pytest.importorskip("transformers")
    twice = Dialogue((Turn("patient", "Hello."), Turn("patient", "It hurts."), Turn("doctor", "Where?")))
    with pytest.raises(ModelFormatError, match="alternating"):
        PAIR.render_training(twice, tokenizer_of("gemma"))
    text, spans = PAIR.render_training(twice, tokenizer_of("chatml"))
    assert cut(text, spans) == ["Where?"]
    with pytest.raises(ModelFormatError):
        PAIR.render_prompt([{"role": "nurse", "content": "x"}])


def test_messages_that_only_call_tools_have_no_span() -> None:
    template = "{% for m in messages %}{{ m['role'] ~ ': ' ~ m['content'] ~ '\n' }}{% endfor %}"
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "b"},
    ]
    text, spans = render_with_spans(messages, template)
    assert cut(text, spans) == ["b"]


def test_a_mark_that_the_template_itself_writes() -> None:
    template = "\ue000{% for m in messages %}\ue0000\ue000{{ m['content'] }}\ue001{% endfor %}"
    text, spans = render_with_spans(
        [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "a"}], template
    )
    assert text == "\ue000" + "\ue0000\ue000a\ue001" * 2
    assert cut(text, spans) == ["a", "a"]


def test_which_template_is_used() -> None:
    pytest.importorskip("transformers")
    tokenizer = make_tokenizer(("<s>", "</s>"))
    assert template_of(None, "layout", "serving") == template_of(tokenizer, "layout", "training") == "layout"
    tokenizer.chat_template = {"default": "d", "training": "t", "tool_use": "u"}
    assert template_of(tokenizer, "layout", "serving") == "d"
    assert template_of(tokenizer, "layout", "training") == "t"
    tokenizer.chat_template = {"tool_use": "u"}
    assert template_of(tokenizer, "layout", "training") == "layout"


def test_a_system_message_alone() -> None:
    pytest.importorskip("transformers")
    for name in ("gemma", "chatml"):
        template = FAMILIES[name].template or ""
        assert "Be brief." in render([system("Be brief.")], template, tokenizer_of(name), cue=True)
