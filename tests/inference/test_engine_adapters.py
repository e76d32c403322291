"""Adapters by name: one base in memory, and each answers as it does alone."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
import tiny_adapters
import tiny_causal_model

from chatdoctor_hub.errors import ConfigError, ModelFormatError, ModelNotFoundError
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.prompts import PromptPair

torch = pytest.importorskip("torch")
pytest.importorskip("peft")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, model_folder):
    place = tmp_path_factory.mktemp("kinds")
    return {kind: tiny_adapters.make_kind(kind, model_folder, place / kind) for kind in tiny_adapters.KINDS}


@pytest.fixture(scope="module")
def many(model_folder, folders):
    return LocalEngine(model_folder, adapters=folders, device="cpu")


@pytest.fixture(scope="module")
def said(patients):
    """Requests to an adapter, one a patient."""

    def make(adapter, **settings):
        settings.setdefault("max_tokens", 16)
        return [
            ChatRequest(({"role": "user", "content": words},), Sampling(**settings), adapter=adapter)
            for words in patients
        ]

    return make


def texts(engine, requests):
    return [reply.text for reply in engine.generate_batch(requests)]


@pytest.mark.parametrize("kind", tiny_adapters.KINDS)
def test_an_adapter_by_name_answers_as_it_does_alone(many, folders, said, kind):
    alone = LocalEngine(folders[kind], device="cpu")
    want = texts(alone, said(None))
    assert texts(many, said(kind)) == want
    assert [many.generate(request).text for request in said(kind)] == want
    assert want != texts(many, said(""))


@pytest.mark.parametrize("kind", tiny_adapters.KINDS)
def test_an_adapter_answers_as_peft_says(many, folders, model_folder, said, kind):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_folder), str(folders[kind]))
    for request in said(kind, max_tokens=8)[:3]:
        prompt = torch.tensor([many._prompter.encode(request)])
        made = tuned.eval().generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=sorted(many._prompter._ends),
            pad_token_id=0,
        )
        tokens = made[0, prompt.shape[1] :].tolist()
        assert many.generate(request).text == many._prompter._decode(
            [token for token in tokens if token not in many._prompter._ends]
        )


def test_one_batch_for_all_adapters(many, said):
    kinds = ["", *tiny_adapters.KINDS, None]
    mixed = [request for kind in kinds for request in said(kind)[:3]]
    mixed = mixed[::2] + mixed[1::2]
    replies = many.generate_batch(mixed)
    assert [reply.text for reply in replies] == [many.generate(request).text for request in mixed]
    names = [many.describe().model if not request.adapter else request.adapter for request in mixed]
    assert [reply.model for reply in replies] == names


def test_drawn_answers_are_those_of_the_adapter_alone(many, folders, said):
    for kind in ("lora", "prefix"):
        settings = {"temperature": 0.8, "seed": 5}
        alone = LocalEngine(folders[kind], device="cpu")
        assert texts(many, said(kind, **settings)) == texts(alone, said(None, **settings))


def test_the_weights_are_in_memory_once(many, model_folder, folders):
    def own(model, seen):
        return sum(
            weight.numel()
            for weight in model.parameters()
            if weight.data_ptr() not in seen and weight.numel()
        )

    base = many._models.model("")
    shared = {weight.data_ptr() for weight in base.parameters()}
    whole = sum(weight.numel() for weight in base.parameters())
    for kind in ("lora", "dora", "series", "parallel", "prefix", "prompt"):
        assert own(many._models.model(kind), shared) < whole / 4, kind
    # PiSSA takes the principal part out of the weights that it adapts; these must be its own.
    assert 0 < own(many._models.model("pissa"), shared) < whole / 2


def test_loading_draws_no_random_numbers(model_folder, folders):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    LocalEngine(model_folder, adapters=folders, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_base_stays_as_it_was(many, engine, said):
    assert texts(many, said("")) == texts(engine, said(None))
    assert texts(many, said(None)) == texts(engine, said(None))


def test_threads_with_different_adapters(many, said):
    want = {kind: texts(many, said(kind)[:2]) for kind in ("lora", "series", "prefix", "")}
    found = {}

    def ask(kind):
        found[kind] = [many.generate(request).text for request in said(kind)[:2]]

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in want]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == want


def test_streams_of_adapters(many, said):
    for kind in ("lora", "prefix"):
        request = said(kind)[1]
        assert "".join(delta.text for delta in many.stream(request)) == many.generate(request).text


def test_adapters_beside_that_of_a_release(release_folder, folders, said):
    engine = LocalEngine(release_folder, adapters={"lora": folders["lora"]}, device="cpu")
    released = LocalEngine(release_folder, device="cpu")
    assert texts(engine, said(None)) == texts(released, said(None))
    assert texts(engine, said(str(release_folder))) == texts(released, said(None))
    assert texts(engine, said("lora")) == texts(LocalEngine(folders["lora"], device="cpu"), said(None))
    bare = texts(engine, said(""))
    assert bare == texts(engine, said("tiny")) != texts(engine, said(None))
    assert engine.generate(said("")[0]).model == "tiny"
    assert engine.describe().adapters == ("lora",)
    # "" works where only the model's own adapter is there, too.
    assert texts(released, said("")) == bare


def test_a_release_as_adapter_brings_its_prompt_pair(model_folder, release_folder, folders, said):
    engine = LocalEngine(
        model_folder, adapters={"released": release_folder, "lora": folders["lora"]}, device="cpu"
    )
    assert engine.prompt.id == "chatdoctor@1"
    assert texts(engine, said("released")) == texts(LocalEngine(release_folder, device="cpu"), said(None))


# Names


def test_a_name_that_does_not_exist(many, said, engine):
    with pytest.raises(ConfigError, match=r"'lora', .*found 'lroa'; did you mean 'lora'\?"):
        many.generate(said("lroa")[0])
    with pytest.raises(ConfigError, match="use one of these"):
        many.generate(said("xyz")[0])
    with pytest.raises(ConfigError, match="found 'lora'"):
        engine.generate(said("lora")[0])
    with pytest.raises(ConfigError, match="found 'lroa'"):
        list(many.stream(said("lroa")[0]))


def test_a_wrong_name_does_not_spoil_a_batch(many, said):
    good, bad = said("lora")[0], said("lroa")[0]
    first, second = many.generate_batch([good, bad], return_exceptions=True)
    assert first.text == many.generate(good).text
    assert isinstance(second, ConfigError)


def test_names_that_cannot_be(model_folder, folders):
    for name in ("", str(model_folder), 3):
        with pytest.raises(ConfigError, match="names of their own"):
            LocalEngine(model_folder, adapters={name: folders["lora"]}, device="cpu")


def test_describe_says_which_adapters_there_are(many, model_folder):
    assert many.describe().adapters == tiny_adapters.KINDS
    assert LocalEngine(model_folder, device="cpu").describe().adapters == ()


def test_the_fingerprint_knows_the_adapters(many, model_folder, folders):
    plain = LocalEngine(model_folder, device="cpu").describe().fingerprint
    seen = {
        LocalEngine(model_folder, adapters=given, device="cpu").describe().fingerprint
        for given in ({"a": folders["lora"]}, {"b": folders["lora"]}, {"a": folders["series"]})
    }
    assert len({plain, many.describe().fingerprint, *seen}) == 5


# What does not belong together


def test_an_adapter_of_another_base(tmp_path, model_folder, tokenizer):
    other = tmp_path / "other"
    tiny_causal_model.make_model(len(tokenizer), seed=1).save_pretrained(other)
    tokenizer.save_pretrained(other)
    foreign = tiny_adapters.make_kind("lora", other, tmp_path / "foreign")
    with pytest.raises(ConfigError, match=r"'foreign'.* was made for .*other; make an engine for that base"):
        LocalEngine(model_folder, adapters={"foreign": foreign}, device="cpu")
    # A copy of the base under another name is the same base.
    shutil.copytree(model_folder, tmp_path / "copy")
    lora = tiny_adapters.make_kind("lora", tmp_path / "copy", tmp_path / "lora")
    LocalEngine(model_folder, adapters={"lora": lora}, device="cpu")


def test_a_release_of_another_base(tmp_path, model_folder, release_folder):
    folder = tmp_path / "release"
    shutil.copytree(release_folder, folder)
    record = json.loads((folder / "chatdoctor.json").read_text())
    record["base"]["digest"] = "0" * 64
    (folder / "chatdoctor.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="made for tiny of another digest"):
        LocalEngine(model_folder, adapters={"released": folder}, device="cpu")


def of_hub(cache, name, folder, sha):
    place = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / sha)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(sha)
    (place / "refs" / "v1").write_text(sha)


def naming(folder, new, base, revision=None):
    shutil.copytree(folder, new)
    config = json.loads((new / "adapter_config.json").read_text())
    config.update(base_model_name_or_path=base, revision=revision)
    (new / "adapter_config.json").write_text(json.dumps(config))
    return new


@pytest.fixture
def hub(tmp_path, monkeypatch, model_folder, folders):
    """A cache of the Hub with a base and an adapter for it."""
    cache = tmp_path / "cache"
    of_hub(cache, "org/tiny", model_folder, "a" * 40)
    of_hub(cache, "org/lora", naming(folders["lora"], tmp_path / "named", "org/tiny", "a" * 40), "b" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("hub")
def test_adapters_by_hub_id_and_revision(many, said, tmp_path, folders):
    engine = LocalEngine(
        "org/tiny",
        adapters={"newest": "org/lora", "tagged": "org/lora@v1", "pinned": f"org/lora@{'b' * 40}"},
        device="cpu",
    )
    assert engine.describe().revision == "a" * 40
    want = texts(many, said("lora"))
    for name in ("newest", "tagged", "pinned"):
        assert texts(engine, said(name)) == want
    with pytest.raises(ModelNotFoundError, match="org/lora"):
        LocalEngine("org/tiny", adapters={"gone": f"org/lora@{'c' * 40}"})
    for base, revision in (("org/other", None), ("org/tiny", "c" * 40)):
        foreign = naming(folders["lora"], tmp_path / f"foreign-{revision}", base, revision)
        with pytest.raises(ConfigError, match=f"made for {base}"):
            LocalEngine("org/tiny", adapters={"foreign": foreign}, device="cpu")
    # By itself it finds its base at the commit that it names.
    assert texts(LocalEngine("org/lora", device="cpu"), said(None)) == want
    # A branch cannot be compared with a commit.
    branch = naming(folders["lora"], tmp_path / "branch", "ORG/tiny", "main")
    LocalEngine("org/tiny", adapters={"branch": branch}, device="cpu")


@pytest.mark.usefixtures("hub")
def test_the_commit_is_recorded(model_folder, tmp_path):
    first = LocalEngine("org/tiny", device="cpu").describe()
    assert first.revision == "a" * 40
    assert LocalEngine(model_folder, device="cpu").describe().revision is None
    of_hub(tmp_path / "again", "org/tiny", model_folder, "d" * 40)
    shutil.copytree(
        tmp_path / "again/models--org--tiny/snapshots" / ("d" * 40),
        tmp_path / "cache/models--org--tiny/snapshots" / ("d" * 40),
    )
    second = LocalEngine("org/tiny", revision="d" * 40, device="cpu").describe()
    assert second.revision == "d" * 40
    assert second.fingerprint != first.fingerprint


def test_an_adapter_whose_tensors_do_not_fit(tmp_path, model_folder, folders):
    from safetensors.torch import load_file, save_file

    def changed(name, change):
        new = naming(folders["lora"], tmp_path / name, None)
        tensors = load_file(new / "adapter_model.safetensors")
        change(tensors)
        save_file(tensors, new / "adapter_model.safetensors", metadata={"format": "pt"})
        return new

    def too_deep(tensors):
        tensors.update({k.replace("layers.0", "layers.9"): v.clone() for k, v in list(tensors.items())})

    def too_wide(tensors):
        tensors.update({k: v.repeat(1, 2) for k, v in tensors.items() if "lora_A" in k})

    cases = {
        "deep": (too_deep, r"4 tensors, .*layers\.9.*no place in the base"),
        "wide": (too_wide, "size mismatch|RuntimeError"),
        "gap": (lambda tensors: tensors.pop(sorted(tensors)[0]), "missing from the file"),
    }
    for name, (change, why) in cases.items():
        folder = changed(name, change)
        with pytest.raises(ModelFormatError, match=why):
            LocalEngine(model_folder, adapters={"odd": folder}, device="cpu")


def test_a_whole_model_is_no_adapter(model_folder, tmp_path):
    with pytest.raises(ModelFormatError, match="found a whole model"):
        LocalEngine(model_folder, adapters={"whole": model_folder}, device="cpu")


def test_an_adapter_with_embeddings_of_its_own(tmp_path, model_folder, engine, said):
    """Its file holds weights of the base, which must not reach the base that others use."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    config = {**tiny_adapters.LORA, "target_modules": ["q_proj"]}
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model_folder), LoraConfig(**config))
    with torch.no_grad():
        tuned.get_input_embeddings().weight.mul_(-0.5)
    tuned.save_pretrained(str(tmp_path / "lora"), save_embedding_layers=True)
    both = LocalEngine(model_folder, adapters={"own": tmp_path / "lora"}, device="cpu")
    by_hand = LocalEngine.of(tuned, engine._prompter._tokenizer)
    assert texts(both, said("own")) == texts(by_hand, said(None)) != texts(engine, said(None))
    assert texts(both, said("")) == texts(engine, said(None))


def test_a_tokenizer_of_its_own(tmp_path, model_folder, folders, tokenizer, said):
    folder = tmp_path / "lora"
    shutil.copytree(folders["lora"], folder)
    tokenizer.save_pretrained(folder)
    LocalEngine(model_folder, adapters={"lora": folder}, device="cpu")
    own = tokenizer.__class__.from_pretrained(folder)
    own.chat_template = tiny_causal_model.TEMPLATE.replace("<|end|>", "<|eos|>")
    own.save_pretrained(folder)
    with pytest.raises(ConfigError, match="another chat template"):
        LocalEngine(model_folder, adapters={"lora": folder}, device="cpu")
    own.add_tokens(["<more>"])
    own.save_pretrained(folder)
    with pytest.raises(ConfigError, match="other tokens"):
        LocalEngine(model_folder, adapters={"lora": folder}, device="cpu")


# One prompt pair


@pytest.fixture(scope="module")
def other_pair(tmp_path_factory, release_folder, tokenizer):
    """The release under another pair."""
    import hashlib

    pair = PromptPair("other@1", "Answer.", "Never name doses.", PromptPair.load("chatdoctor@1").layout)
    folder = tmp_path_factory.mktemp("pairs") / "other"
    shutil.copytree(release_folder, folder)
    files = {
        "chat_template.jinja": pair.serving_template(tokenizer),
        "additional_chat_templates/training.jinja": pair.training_template(tokenizer),
    }
    record = json.loads((folder / "chatdoctor.json").read_text())
    for name, text in files.items():
        (folder / name).write_text(text)
        record["files"][name] = hashlib.sha256(text.encode()).hexdigest()
    record["prompt"] = pair.to_record()
    (folder / "chatdoctor.json").write_text(json.dumps(record))
    return folder


def test_releases_with_different_pairs_need_a_decision(model_folder, release_folder, other_pair, said):
    adapters = {"one": release_folder, "other": other_pair}
    with pytest.raises(
        ConfigError, match=r"one prompt pair.*chatdoctor@1 .*'one'.*other@1 .*'other'.*prompt="
    ):
        LocalEngine(model_folder, adapters=adapters, device="cpu")
    with pytest.raises(ConfigError, match="one prompt pair"):
        LocalEngine(release_folder, adapters={"other": other_pair}, device="cpu")
    engine = LocalEngine(model_folder, adapters=adapters, prompt="chatdoctor@1", device="cpu")
    assert engine.prompt.id == "chatdoctor@1"
    assert LocalEngine(model_folder, adapters={"other": other_pair}, device="cpu").prompt.id == "other@1"


# Virtual tokens


@pytest.mark.parametrize("kind", ["prefix", "prompt", "p-tuning"])
def test_virtual_tokens_of_a_model_in_memory(model_folder, tmp_path, tokenizer, said, kind):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = tiny_adapters.make_kind(kind, model_folder, tmp_path / kind)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_folder), str(folder))
    in_memory = LocalEngine.of(tuned, tokenizer, name="tuned")
    want = texts(LocalEngine(folder, device="cpu"), said(None))
    assert texts(in_memory, said(None)) == want
    assert [in_memory.generate(request).text for request in said(None)] == want


def test_the_context_holds_virtual_tokens_too(tmp_path, tokenizer):
    short = tmp_path / "short"
    tiny_causal_model.make_model(len(tokenizer), context=400).save_pretrained(short)
    tokenizer.save_pretrained(short)
    prefix = tiny_adapters.make_kind("prefix", short, tmp_path / "prefix")
    engine = LocalEngine(short, adapters={"prefix": prefix}, device="cpu")
    user = {"role": "user", "content": "pain"}
    for adapter, left in (("", 0), ("prefix", 5)):
        drawn = [Sampling(max_tokens=1000, temperature=2.0, seed=seed) for seed in range(8)]
        requests = [ChatRequest((user,), sampling, adapter=adapter) for sampling in drawn]
        cut = [reply for reply in engine.generate_batch(requests) if reply.finish_reason == "length"]
        assert cut
        assert {reply.usage.total_tokens for reply in cut} == {400 - left}
