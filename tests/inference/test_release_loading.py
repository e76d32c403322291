from __future__ import annotations

import json
import shutil

import pytest

from chatdoctor_hub.errors import ModelNotFoundError, PromptDigestError, ReleaseFormatError
from chatdoctor_hub.inference import LocalEngine
from chatdoctor_hub.prompts import PromptPair

pytest.importorskip("torch")
pytest.importorskip("peft")
PAIR = PromptPair.load("chatdoctor@1")


@pytest.fixture(scope="module")
def released(release_folder):
    return LocalEngine(release_folder, device="cpu")


@pytest.fixture
def changed(release_folder, tmp_path):
    """A copy of the release whose manifest can be changed."""
    folder = tmp_path / "changed"
    shutil.copytree(release_folder, folder)

    def change(edit):
        file = folder / "chatdoctor.json"
        record = json.loads(file.read_text())
        edit(record)
        file.write_text(json.dumps(record))
        return folder

    return change


def prompt_of(engine, request):
    return engine._prompter._tokenizer.decode(engine._prompter.encode(request))


def test_a_release_is_base_adapter_tokenizer_and_prompt(
    released, release_folder, adapter_folder, ask, patients
):
    info = released.describe()
    assert (info.model, info.prompt) == (str(release_folder), PAIR.id)
    assert info.serving_sha256 == PAIR.serving_sha256
    by_hand = LocalEngine(adapter_folder, device="cpu")
    requests = [ask(words) for words in patients]
    replies = released.generate_batch(requests)
    assert [reply.text for reply in replies] == [reply.text for reply in by_hand.generate_batch(requests)]
    assert replies == [released.generate(request) for request in requests]


def test_the_safety_prompt_is_there_once_and_only_in_the_serving_form(released, engine, ask):
    serving, training = (prompt_of(released, ask("Fever", form=form)) for form in ("serving", "training"))
    assert serving.count(PAIR.safety) == 1
    assert PAIR.safety not in training
    assert PAIR.training_text in training
    for form in ("serving", "training"):
        assert prompt_of(released, ask("Fever", form=form)) == prompt_of(engine, ask("Fever", form=form))


def test_the_prompt_is_what_a_user_of_transformers_would_get_from_the_folder(released, release_folder, ask):
    from transformers import AutoTokenizer

    plain = AutoTokenizer.from_pretrained(release_folder)
    for form, messages, template in (
        ("serving", ask("Fever").messages, None),
        ("training", PAIR.render_training_messages(ask("Fever").messages), "training"),
    ):
        text = plain.apply_chat_template(
            list(messages), chat_template=template, add_generation_prompt=True, tokenize=False
        )
        assert prompt_of(released, ask("Fever", form=form)) == text


def test_another_prompt_takes_the_place_of_the_one_baked_in(release_folder, ask):
    other = PromptPair("other@1", "Answer.", "Never name doses.", PAIR.layout)
    text = prompt_of(LocalEngine(release_folder, prompt=other, device="cpu"), ask("Fever"))
    assert "Never name doses." in text
    assert PAIR.safety not in text


def test_the_base_of_a_release_by_id(changed, model_folder, released, ask):
    folder = changed(lambda record: record["base"].update(id=str(model_folder), path=""))
    shutil.rmtree(folder / "base")
    for file in list((folder / "adapter").iterdir()):  # at the root, where it is without its base
        file.rename(folder / file.name)
    assert LocalEngine(folder, device="cpu").generate(ask()).text == released.generate(ask()).text


def test_a_base_that_is_gone(changed):
    with pytest.raises(ModelNotFoundError):
        LocalEngine(changed(lambda record: record["base"].update(id="/no/such/base", path="")))


@pytest.mark.parametrize("path", ["elsewhere", "..", "/"])
def test_a_base_that_is_no_folder_of_the_release(changed, path):
    with pytest.raises(ReleaseFormatError, match="expected the base model in a folder of the release"):
        LocalEngine(changed(lambda record: record["base"].update(path=path)))


def test_a_prompt_that_was_changed_is_not_served(changed):
    with pytest.raises(PromptDigestError):
        LocalEngine(changed(lambda record: record["prompt"]["serving"].update(text="Anything goes.")))


def test_a_template_that_was_changed_is_not_served(changed):
    folder = changed(lambda record: None)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace(PAIR.safety[:40], ""))
    with pytest.raises(PromptDigestError):
        LocalEngine(folder)
