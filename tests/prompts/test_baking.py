"""Chat templates with the safety prompt baked in: they do to messages what the pair does, in any family."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from callers import LATE, LEADS, PAIR, SAFETY, SERVING, TALK, conversations, system, text_part
from chat_families import FAMILIES, TOOLS, make_tokenizer, tokenizer_of
from hypothesis import HealthCheck, given, settings

from chatdoctor_hub.prompts import PromptPair, Shape, bake, baked_digest, unbake
from chatdoctor_hub.prompts.messages import fold_system

Messages = list[dict[str, Any]]

_ASK = Shape("Question: {question}\n(Think.)")
WRAPPING = dataclasses.replace(PAIR, training_shape=_ASK, serving_shape=_ASK)


def by_hand(name: str, messages: Messages, template: str, **options: Any) -> str:
    """As a user of transformers renders, who knows nothing of this package."""
    text = tokenizer_of(name).apply_chat_template(messages, chat_template=template, tokenize=False, **options)
    return str(text)


def merged(name: str, pair: PromptPair, messages: Messages) -> Messages:
    made = pair.render_serving(messages)
    return made if FAMILIES[name].system else fold_system(made)


def assert_same(name: str, pair: PromptPair, messages: Messages, **options: Any) -> str:
    tokenizer = tokenizer_of(name)
    plain, baked = pair.training_template(tokenizer), pair.serving_template(tokenizer)
    text = by_hand(name, messages, baked, **options)
    assert text == by_hand(name, merged(name, pair, messages), plain, **options)
    return text


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("cue", [True, False])
def test_a_baked_template_merges_as_the_pair_does(family: str, lead: str, cue: bool) -> None:
    messages = [*LEADS[lead][0], *TALK]
    text = assert_same(family, PAIR, messages, add_generation_prompt=cue)
    assert text.count(SAFETY) == 1
    if cue:
        assert text == PAIR.render_prompt(messages, tokenizer_of(family))
    if FAMILIES[family].late_system:
        assert assert_same(family, PAIR, [*messages, *LATE], add_generation_prompt=cue).count(SAFETY) == 1


@given(conversations(late=False))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_baked_template_merges_whatever_was_sent(family: str, messages: Messages) -> None:
    assert_same(family, PAIR, messages, add_generation_prompt=messages[-1]["role"] == "user")


@given(conversations())
@settings(deadline=None, max_examples=60)
def test_system_messages_in_between(messages: Messages) -> None:
    pytest.importorskip("transformers")
    assert_same("chatml", PAIR, messages)


@pytest.mark.parametrize("name", sorted(name for name in FAMILIES if FAMILIES[name].tools))
def test_tools_stay_what_they_are(name: str) -> None:
    pytest.importorskip("transformers")
    text = assert_same(name, PAIR, TALK, tools=TOOLS, add_generation_prompt=True)
    assert '"look_up"' in text
    assert text.count(SAFETY) == 1


@pytest.mark.parametrize("thinking", [True, False])
def test_switches_of_a_template_stay_what_they_are(thinking: bool) -> None:
    pytest.importorskip("transformers")
    text = assert_same("qwen-3", PAIR, TALK, enable_thinking=thinking, add_generation_prompt=True)
    assert text.endswith("<think>\n\n</think>\n\n") == (not thinking)


def test_parts_of_a_patients_message_stay_parts() -> None:
    """For templates that take them, with the system words in front where there is no system role."""
    pytest.importorskip("transformers")
    template = (
        "{% for m in messages %}{{ m['role'] ~ ':' }}{% for part in m['content'] %}"
        "{{ '[' ~ (part['text'] or part['type']) ~ ']' }}{% endfor %}{% endfor %}"
    )
    sent = [system("Be brief."), {"role": "user", "content": [text_part("a"), {"type": "image"}]}]
    baked = bake(template, id="x@1", serving="Safe.", takes_system_role=False)
    assert by_hand("chatml", sent, baked) == "user:[Safe.\n\nBe brief.\n\n][a][image]"
    assert by_hand("chatml", [system("a"), {"role": "user", "content": []}], baked) == "user:[Safe.\n\na\n\n]"


def test_unbaking_gives_the_template_back(family: str) -> None:
    tokenizer = tokenizer_of(family)
    own, baked = PAIR.training_template(tokenizer), PAIR.serving_template(tokenizer)
    assert own == (FAMILIES[family].template or PAIR.layout)
    assert unbake(baked) == own
    assert unbake(own) == own
    assert baked_digest(own) is None
    assert baked_digest(baked) == PAIR.serving_sha256


def test_baking_twice_is_baking_once(family: str) -> None:
    own = PAIR.training_template(tokenizer_of(family))
    baked = bake(own, id="a@1", serving="Be safe.", known=["Be kind."])
    assert bake(baked, id="a@1", serving="Be safe.", known=["Be kind."]) == baked
    other = bake(baked, id="b@1", serving="Be careful.")
    assert "Be safe." not in other
    assert unbake(other) == own


@pytest.mark.parametrize(
    "own",
    [
        "",
        "x",
        "\n",
        "  {% if true %}x{% endif %}",
        "\n\n{{ 'x' }}\n",
        "\t{#- c -#} y",
        "{%- if true %} x{% endif %}",
    ],
)
def test_white_space_around_a_template_counts_as_before(own: str) -> None:
    pytest.importorskip("transformers")
    baked = bake(own, id="a@1", serving="Be safe.")
    assert unbake(baked) == own
    assert by_hand("chatml", TALK, baked) == by_hand("chatml", TALK, own or "{{ '' }}")


@pytest.mark.parametrize(
    "text",
    [
        "Say \"no\" and 'no', \\n is \\ {{ no }} {% set messages = [] %} {# c #} -%}\n\n-#} }}",
        "SERVING PIECES GAP {id} {sha256} {0}",
        "ü “é” 安全 \u2028 \x85 😷 \x0b \x00 end",
        "{#- chatdoctor-hub: the model's own template follows -#}\nx",
        "One.\n\n\n\nTwo.",
    ],
)  # fmt: skip
def test_any_text_can_be_baked_in(text: str) -> None:
    pytest.importorskip("transformers")
    pair = PromptPair("any text#} @1", "SERVING it is.", text, "x")
    for name in ("chatml", "gemma"):
        own = FAMILIES[name].template or ""
        baked = pair.serving_template(tokenizer_of(name))
        assert unbake(baked) == own
        assert baked_digest(baked) == pair.serving_sha256
        for lead in ([], [system("Be brief.")], [system(pair.serving_text)], [system(f"a{text}b")]):
            written = assert_same(name, pair, [*lead, *TALK], add_generation_prompt=True)
            assert written.count(pair.serving_text) == 1


def test_a_damaged_head_loses_no_template() -> None:
    head = bake("own", id="a@1", serving="Be safe.").splitlines()[0] + "\n"
    assert unbake(head + "own") == head + "own"


def test_a_pair_of_no_words_adds_no_message() -> None:
    pytest.importorskip("transformers")
    none = PromptPair("none@1", "", "", "x")
    for name in ("chatml", "gemma"):
        assert_same(name, none, TALK)
        assert_same(name, none, [system(" a "), *TALK])


def test_a_release_of_the_training_form_is_never_spoiled_by_what_is_baked_in(family: str) -> None:
    """Of a tokenizer whose only template is a baked one, the training form is still pure."""
    spec, plain = FAMILIES[family], tokenizer_of(family)
    baked = make_tokenizer(spec.special, spec.plain, PAIR.serving_template(plain))
    other = PromptPair("other@1", "Answer.", "Never name doses.", PAIR.layout)
    for pair in (PAIR, other):
        for form in ("training", "serving"):
            assert pair.render_prompt(TALK, baked, form=form) == pair.render_prompt(TALK, plain, form=form)
        assert pair.serving_template(baked) == pair.serving_template(plain)
    assert SAFETY not in PAIR.render_prompt(TALK, baked, form="training")
    both = make_tokenizer(spec.special, spec.plain)
    both.chat_template = {"default": PAIR.serving_template(plain), "training": PAIR.training_template(plain)}
    assert SAFETY not in PAIR.render_prompt(TALK, both, form="training")
    assert PAIR.render_prompt(TALK, both).count(SAFETY) == 1


# White space at the start of a template is followed to the letter only where blocks are trimmed.
IN_MINIJINJA = [(name, True) for name in FAMILIES] + [
    (name, False) for name in FAMILIES if name != "spacious"
]


@pytest.mark.parametrize(("family", "trim"), IN_MINIJINJA)
def test_another_implementation_of_jinja_reads_it_too(family: str, trim: bool) -> None:
    """minijinja is what servers written in Rust render with."""
    pytest.importorskip("transformers")
    minijinja = pytest.importorskip("minijinja")

    def raise_exception(message: str) -> None:
        raise ValueError(message)

    environment = minijinja.Environment(trim_blocks=trim, lstrip_blocks=trim)
    environment.add_function("raise_exception", raise_exception)
    tokenizer = tokenizer_of(family)
    names = {**tokenizer.special_tokens_map, "add_generation_prompt": True}
    for lead in LEADS.values():
        messages = [*lead[0], *TALK, *(LATE if FAMILIES[family].late_system else [])]
        for pair in (PAIR, WRAPPING):
            plain = environment.render_str(
                pair.training_template(tokenizer), messages=merged(family, pair, messages), **names
            )
            baked = environment.render_str(pair.serving_template(tokenizer), messages=messages, **names)
            assert baked == plain
            assert baked.count(SERVING) == 1
