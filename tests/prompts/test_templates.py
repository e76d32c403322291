"""The templates of PTST by name, pairs of two of them, and prompts of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from callers import LATE, LEADS, TALK, conversations, system, text_part
from chat_families import FAMILIES, tokenizer_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import MissingExtraError, PromptDigestError, PromptError, UnknownPromptError
from chatdoctor_hub.prompts import PromptPair, Shape, catalogue, known_safety_prompts
from chatdoctor_hub.prompts.catalogue import known_safety_prompts as known
from chatdoctor_hub.prompts.messages import fold_system

ASKED = Dialogue((Turn("patient", "What is 6 x 7?"), Turn("doctor", "42")))
LLAMA = "llama-2"
HEADER = "What follows is an instruction that sets out a task. Reply with what carries the task out in full."
TEMPLATES = (
    "text:vanilla",
    "text:alpaca",
    "chat:vanilla",
    "chat:alpaca",
    "chat:llama",
    "chat:llama-short",
    "chat:mpt",
)
CROSSED = (
    "chat:vanilla -> chat:llama",
    "text:alpaca -> chat:llama",
    "chat:alpaca -> text:vanilla",
    "math@1 -> chat:mpt",
)
SHAPES = (Shape("Question: {question}"), Shape("{question}\n\nThink first."), Shape("<{question}>"), Shape())


def training(id: str) -> str:
    return PromptPair.load(id).render_training(ASKED, tokenizer_of(LLAMA))[0]


def test_every_template_of_the_paper_has_its_structure() -> None:
    """Section 3 of the paper, written out for Llama 2's markup."""
    pytest.importorskip("transformers")
    assert training("text:vanilla") == "<s>Question: What is 6 x 7?\nAnswer: 42</s>\n\n"
    assert training("text:alpaca") == (
        f"<s>{HEADER}\n\n### Instruction:\nWhat is 6 x 7?\n\n### Response:\n42</s>\n\n"
    )
    assert training("chat:vanilla") == "<s>[INST] Question: What is 6 x 7? [/INST] 42 </s>"
    assert training("chat:alpaca") == (
        f"<s>[INST] <<SYS>>\n{HEADER}\n<</SYS>>\n\n### Instruction:\nWhat is 6 x 7?\n\n### Response: [/INST] 42 </s>"
    )
    for safe in ("chat:llama", "chat:llama-short", "chat:mpt"):
        assert training(safe) == training("chat:vanilla")


def test_the_safe_templates_are_served_with_their_own_system_text() -> None:
    from_transformers = pytest.importorskip(
        "transformers.models.llama.tokenization_llama"
    ).DEFAULT_SYSTEM_PROMPT
    asked = [{"role": "user", "content": "Hello?"}]
    served = {id: PromptPair.load(id).render_prompt(asked, tokenizer_of(LLAMA)) for id in TEMPLATES}
    assert served["chat:llama"] == (
        f"<s>[INST] <<SYS>>\n{from_transformers.strip()}\n<</SYS>>\n\nQuestion: Hello? [/INST]"
    )
    short = PromptPair.load("chat:llama-short").safety
    assert from_transformers.startswith(short)
    assert short.count(".") == 2
    assert PromptPair.load("chat:mpt").safety.count(".") == 1
    assert served["text:vanilla"].endswith("\n\nQuestion: Hello?\nAnswer:")
    assert len(set(served.values())) == len(TEMPLATES)


@pytest.mark.parametrize("id", [*TEMPLATES, *CROSSED, "math@1", "bianque@1"])
def test_all_of_them_are_safe_by_construction(id: str) -> None:
    pytest.importorskip("transformers")
    pair = PromptPair.load(id)
    assert pair.id == id
    assert pair.source
    text, spans = pair.render_training(ASKED, tokenizer_of(LLAMA))
    assert not any(safety in text for safety in known_safety_prompts())
    assert [text[start:end] for start, end in spans] == ["42"]
    prompt = pair.render_prompt([{"role": "user", "content": "Hello?"}], tokenizer_of(LLAMA))
    assert prompt.count(pair.safety) == 1
    assert PromptPair.from_record(json.loads(json.dumps(pair.to_record()))) == pair


def test_a_crossed_pair_is_tuned_under_one_and_served_under_the_other() -> None:
    pytest.importorskip("transformers")
    crossed, first, second = (
        PromptPair.load(id) for id in ("text:alpaca -> chat:llama", "text:alpaca", "chat:llama")
    )
    tokenizer = tokenizer_of(LLAMA)
    assert crossed.render_training(ASKED, tokenizer) == first.render_training(ASKED, tokenizer)
    assert crossed.render_prompt(TALK, tokenizer) == second.render_prompt(TALK, tokenizer)
    assert crossed.serving_text == second.serving_text
    assert crossed.training_sha256 == first.training_sha256
    assert crossed.serving_sha256 == second.serving_sha256
    assert PromptPair.load("text:alpaca->chat:llama").id == crossed.id


@pytest.mark.parametrize("id", [*TEMPLATES, *CROSSED, "math@1"])
@pytest.mark.parametrize("lead", ["nothing", "own words", "the serving text", "several"])
def test_a_baked_template_wraps_and_merges_as_the_pair_does(family: str, id: str, lead: str) -> None:
    pair, tokenizer = PromptPair.load(id), tokenizer_of(family)
    plain = pair.template(tokenizer, "serving")
    if not plain:
        assert FAMILIES[family].template is None
        return
    messages = [*LEADS[lead][0], *TALK, *(LATE if FAMILIES[family].late_system else [])]
    assert_same(pair, family, messages)


def assert_same(pair: PromptPair, family: str, messages: list[dict[str, Any]]) -> None:
    tokenizer = tokenizer_of(family)
    merged = pair.render_serving(messages)
    if not (pair.serving_shape.plain or FAMILIES[family].system):
        merged = fold_system(merged)
    own, baked = pair.template(tokenizer, "serving"), pair.serving_template(tokenizer)

    def by_hand(sent: list[dict[str, Any]], template: str) -> str:
        return str(tokenizer.apply_chat_template(sent, chat_template=template, tokenize=False))

    assert by_hand(messages, baked) == by_hand(merged, own)
    # What a client has merged and wrapped, a server with the baked template leaves alone.
    if pair.serving_shape.plain or FAMILIES[family].system:
        assert by_hand(pair.render_serving(messages), baked) == by_hand(merged, own)


@given(conversations(), st.sampled_from(SHAPES))
@settings(deadline=None, max_examples=80)
def test_wrapping_is_idempotent_and_the_same_in_jinja(messages: list[dict[str, Any]], shape: Shape) -> None:
    pytest.importorskip("transformers")
    once = shape.wrap(messages)
    assert shape.wrap(once) == once
    assert [message for message in once if message["role"] != "user"] == [
        message for message in messages if message["role"] != "user"
    ]
    pair = PromptPair("own@1", "Task.", "Be safe, please.", "", serving_shape=shape, training_shape=shape)
    assert_same(pair, "chatml", messages)


@given(st.text(), st.sampled_from(SHAPES))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_whatever_was_asked_stands_in_the_wrapping(question: str, shape: Shape) -> None:
    wrapped = shape.wrap([{"role": "user", "content": question}])[0]["content"]
    assert wrapped in (question, shape.wrapping.replace("{question}", question))


def test_words_in_parts_are_wrapped_by_parts() -> None:
    parts = [text_part("Look at this:"), {"type": "image"}]
    shape = Shape("Question: {question}\nAnswer:")
    wrapped = shape.wrap([{"role": "user", "content": parts}])
    assert wrapped[0]["content"] == [text_part("Question: "), *parts, text_part("\nAnswer:")]
    assert shape.wrap(wrapped) == wrapped
    assert shape.wrap([{"role": "user", "content": []}]) == [{"role": "user", "content": []}]


def test_several_turns_in_plain_text() -> None:
    pair = PromptPair.load("text:vanilla")
    text, spans = pair.render_training(
        Dialogue((*ASKED.turns, Turn("patient", "And 7 x 8?"), Turn("doctor", "56")))
    )
    assert text == "Question: What is 6 x 7?\nAnswer: 42\n\nQuestion: And 7 x 8?\nAnswer: 56\n\n"
    assert [text[start:end] for start, end in spans] == ["42", "56"]
    assert pair.render_training_messages([system("Be brief."), *TALK[:1]])[0] == system("Be brief.")


def test_bianques_turns() -> None:
    text, spans = PromptPair.load("bianque@1").render_training(
        Dialogue((Turn("patient", "我头疼"), Turn("doctor", "多久了？")))
    )
    assert text.endswith("\n病人：我头疼\n医生：多久了？\n")
    assert [text[start:end] for start, end in spans] == ["多久了？"]


def test_a_cell_of_the_papers_matrix_that_is_not_pure_says_so() -> None:
    """`fine_tune` refuses it, unless the recipe allows safety in training."""
    pytest.importorskip("transformers")
    pair = PromptPair.load("chat:llama -> chat:vanilla")
    assert pair.training_text == PromptPair.load("chat:llama").safety
    assert pair.training_text in pair.render_training(ASKED, tokenizer_of(LLAMA))[0]
    assert pair.serving_text == PromptPair.load("chat:vanilla").serving_text
    both = PromptPair.load("chat:llama -> chat:llama")
    assert both.render_training(ASKED, tokenizer_of(LLAMA)) == pair.render_training(
        ASKED, tokenizer_of(LLAMA)
    )
    assert both.render_serving(TALK)[0]["content"] == pair.training_text


@pytest.mark.parametrize(
    ("id", "hint"),
    [
        ("chat:vanila", "did you mean 'chat:vanilla'?"),
        ("chat:vanilla -> chat:lama", "did you mean 'chat:llama'?"),
        ("-> chat:llama", "found ''"),
        ("chat:vanilla -> chat:llama -> chat:mpt", "found a further arrow"),
        ("no/such.yaml", "found no such file"),
    ],
)
def test_unknown_names_are_told_with_the_near_ones(id: str, hint: str) -> None:
    with pytest.raises(UnknownPromptError) as caught:
        PromptPair.load(id)
    assert hint in str(caught.value)


def test_without_transformers_llamas_prompt_is_told_and_the_rest_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chatdoctor_hub.prompts.catalogue import read_pair

    monkeypatch.setitem(sys.modules, "transformers.models.llama.tokenization_llama", None)
    with pytest.raises(MissingExtraError, match=r"chatdoctor-hub\[local\]"):
        read_pair("chat:llama")
    assert read_pair("chat:vanilla")["safety"] in known.__wrapped__()
    assert len(known.__wrapped__()) == len(
        {read_pair(id)["safety"] for id in catalogue() if "llama" not in id}
    )


OWN = """\
id: clinic@3
instruction: Answer as the clinic's nurse.
safety: Never name a dose.
source: ours
training: {wrapping: "Q: {question}"}
serving: {wrapping: "Q: {question}", instruction: Answer briefly.}
"""


def test_a_prompt_of_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "clinic.yaml"
    file.write_text(OWN, encoding="utf-8")
    pair = PromptPair.load(str(file))
    assert (pair.id, pair.training_text) == ("clinic@3", "Answer as the clinic's nurse.")
    assert pair.serving_text == "Never name a dose.\n\nAnswer briefly."
    assert pair.render_serving(TALK[:1])[1]["content"].startswith("Q: ")
    assert PromptPair.from_record(pair.to_record()) == pair
    file.write_text(OWN.replace("@3", "@4"), encoding="utf-8")
    assert PromptPair.load(str(file)).id == "clinic@4"
    assert PromptPair.load(f"{file} -> chat:mpt").id == "clinic@4 -> chat:mpt"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("safety: Never name a dose.", ""), "safety: expected a text"),
        (("id: clinic@3", "id: 3"), "id: expected a text"),
        (("source:", "sauce:"), "sauce: no such field"),
        (('training: {wrapping: "Q: {question}"}', "training: 5"), "training: expected wrapping, plain"),
        (("instruction: Answer briefly.", "instruction: [a]"), "serving: expected texts"),
        (
            ('training: {wrapping: "Q: {question}"}', 'training: {wrapping: "Q"}'),
            "with {question} in it once",
        ),
        ((OWN, "- a"), "found none"),
        ((OWN, "a: [b"), "found something else"),
    ],
)
def test_faults_in_a_file_are_told(tmp_path: Path, change: tuple[str, str], fault: str) -> None:
    file = tmp_path / "clinic.yaml"
    file.write_text(OWN.replace(*change), encoding="utf-8")
    with pytest.raises(PromptError) as caught:
        PromptPair.load(str(file))
    assert fault in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["training_shape", "serving_shape", "serving_instruction"])
def test_a_changed_shape_in_a_record_is_refused(name: str) -> None:
    record = PromptPair.load("chat:alpaca -> text:vanilla").to_record()
    record[name] = "Other." if name == "serving_instruction" else {"wrapping": "Say: {question}"}
    with pytest.raises(PromptDigestError):
        PromptPair.from_record(record)
    del record[name]
    with pytest.raises(PromptDigestError):
        PromptPair.from_record(record)
    with pytest.raises(PromptDigestError, match="found a gap"):
        PromptPair.from_record({**record, "training_shape": {"wrapping": "none"}})
