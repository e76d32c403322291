from __future__ import annotations

import os
import shutil
import sys

import pytest
import tiny_causal_model

from chatdoctor_hub.errors import ConfigError, MissingExtraError, ModelFormatError, ModelNotFoundError
from chatdoctor_hub.inference import LocalEngine
from chatdoctor_hub.inference.weights import resolve_parts

torch = pytest.importorskip("torch")


def test_a_model_folder(model_folder, engine, ask, patients):
    loaded = LocalEngine(model_folder, device="cpu")
    requests = [ask(words) for words in patients[:3]]
    for mine, want in zip(loaded.generate_batch(requests), engine.generate_batch(requests), strict=True):
        assert mine.text == want.text
        assert mine.model == str(model_folder)


def test_device_and_dtype_are_chosen_and_said(model_folder):
    info = LocalEngine(model_folder).describe()
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert (info.device, info.dtype) == ("cpu", "float32")
    narrow = LocalEngine(model_folder, device="cpu", dtype="bfloat16")
    assert narrow.describe().dtype == "bfloat16"
    assert LocalEngine(model_folder, device="cpu", dtype=torch.float16).describe().dtype == "float16"


def test_bfloat16_on_a_cpu_answers(model_folder, ask):
    assert LocalEngine(model_folder, device="cpu", dtype="bfloat16").generate(ask(max_tokens=4)).text


@pytest.mark.parametrize("settings", [{"dtype": "int8"}, {"device": "tpu"}, {"device": "nowhere"}])
def test_a_device_or_dtype_that_does_not_exist(model_folder, settings):
    with pytest.raises(ConfigError):
        LocalEngine(model_folder, **settings)


@pytest.mark.parametrize("name", ["/no/such/folder", "no/such/folder/here", "runs/none", "none", "a b", ""])
def test_no_such_model(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError) as caught:
        LocalEngine(name)
    assert str(caught.value).startswith(f"{name or 'model'}: expected")
    assert "\n" not in str(caught.value)


def test_no_such_model_and_no_network(tmp_path, monkeypatch):
    # Sockets are off in these tests, so this is what a machine without a network sees.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="no such model in the Hub's cache"):
        LocalEngine("no-such-org/no-such-model")


def test_a_hub_id_is_taken_from_the_cache(model_folder, tmp_path, monkeypatch, ask):
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / ("a" * 40)
    shutil.copytree(model_folder, snapshot)
    refs = tmp_path / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    engine = LocalEngine("org/tiny", device="cpu")
    assert engine.describe().model == "org/tiny"
    assert engine.generate(ask(max_tokens=2)).usage.output_tokens == 2


def test_a_file_is_no_model(model_folder):
    with pytest.raises(ModelFormatError, match="found a file"):
        LocalEngine(model_folder / "config.json")


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ModelFormatError, match="found none of them"):
        LocalEngine(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelFormatError) as caught:
        LocalEngine(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_read(model_folder, tmp_path, model):
    folder = tmp_path / "pickled"
    shutil.copytree(model_folder, folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ModelFormatError, match="safetensors"):
        LocalEngine(folder)


def test_a_tokenizer_of_another_model(model_folder, tmp_path, tokenizer):
    folder = tmp_path / "mixed"
    shutil.copytree(model_folder, folder)
    larger = tokenizer.__class__.from_pretrained(folder)
    larger.add_tokens([f"<extra{number}>" for number in range(9)])
    larger.save_pretrained(folder)
    with pytest.raises(ModelFormatError, match="at most 420 tokens"):
        LocalEngine(folder)


def test_an_adapter_folder_finds_its_base(adapter_folder, model_folder, ask, patients):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tuned = LocalEngine(adapter_folder, device="cpu")
    requests = [ask(words) for words in patients]
    replies = tuned.generate_batch(requests)
    by_hand = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(model_folder), str(adapter_folder)
    )
    same = LocalEngine.of(by_hand, AutoTokenizer.from_pretrained(model_folder))
    assert [reply.text for reply in replies] == [same.generate(request).text for request in requests]
    assert replies[0].text != LocalEngine(model_folder, device="cpu").generate(requests[0]).text


def test_a_series_adapter_is_served_like_any_other(tmp_path, model_folder, ask, patients):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny_causal_model.make_series_adapter(model_folder, tmp_path)
    tuned = LocalEngine(tmp_path, device="cpu")
    by_hand = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_folder), str(tmp_path))
    same = LocalEngine.of(by_hand, AutoTokenizer.from_pretrained(model_folder))
    requests = [ask(words) for words in patients]
    texts = [reply.text for reply in tuned.generate_batch(requests)]
    assert texts == [same.generate(request).text for request in requests]
    assert texts[0] != LocalEngine(model_folder, device="cpu").generate(requests[0]).text


def test_a_pickled_adapter_is_not_read(adapter_folder, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(adapter_folder, folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelFormatError, match="pickled adapters are not read"):
        LocalEngine(folder)


@pytest.mark.parametrize("config", ["not json", "[]", "{}"])
def test_an_adapter_without_a_base(tmp_path, config):
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(ModelFormatError, match=r"adapter_config\.json: expected"):
        LocalEngine(tmp_path)


def test_finding_the_parts_loads_nothing(model_folder):
    parts = resolve_parts(str(model_folder))
    assert (parts.folder, parts.base, parts.adapter) == (model_folder, model_folder, None)
    assert parts.pair.id == "chatdoctor@1"


def test_the_fingerprint_follows_the_files(model_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(model_folder, folder)

    def now():
        return resolve_parts(folder).fingerprint

    before = now()
    assert now() == before != resolve_parts(model_folder).fingerprint
    (folder / "notes.md").write_text("not part of the model")
    assert now() == before
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert now() != before


def test_a_missing_extra_is_one_sentence(model_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'chatdoctor-hub\[local\]'"):
        LocalEngine(model_folder)


def test_a_missing_peft_is_one_sentence(adapter_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match="peft"):
        LocalEngine(adapter_folder)
