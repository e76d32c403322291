"""Bases in 4 and 8 bits: what is said, refused and answered. bitsandbytes computes on a CPU too, so the real thing runs."""

from __future__ import annotations

import sys

import pytest
import tiny_adapters

from chatdoctor_hub.errors import ConfigError, MissingExtraError, ModelFormatError
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.inference.weights import check_quantization

torch = pytest.importorskip("torch")
KINDS = ("lora", "series", "parallel", "prefix")


@pytest.fixture(scope="module")
def bitsandbytes():
    return pytest.importorskip("bitsandbytes", reason="install bitsandbytes to run quantized models")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A model of whole blocks of 64, as bitsandbytes quantizes them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=640,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    folder = tmp_path_factory.mktemp("quantized") / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, folder):
    place = tmp_path_factory.mktemp("kinds")
    return {kind: tiny_adapters.make_kind(kind, folder, place / kind) for kind in KINDS}


def asked(adapter=None, words="I have a sore throat.", tokens=8):
    return ChatRequest(({"role": "user", "content": words},), Sampling(max_tokens=tokens), adapter=adapter)


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(
    ("quantization", "dtype", "kind"), [("4bit", "uint8", "Linear4bit"), ("8bit", "int8", "Linear8bitLt")]
)
def test_a_quantized_base_with_adapters(folder, folders, quantization, dtype, kind):
    engine = LocalEngine(folder, quantization=quantization, adapters=folders, device="cpu")
    info = engine.describe()
    computed = "bfloat16" if quantization == "4bit" else "float16"
    assert (info.quantization, info.dtype, info.device) == (quantization, computed, "cpu")
    base = engine._models.model("")
    linear = [module for module in base.modules() if isinstance(module, torch.nn.Linear)]
    quantized = [module for module in linear if type(module).__name__ == kind]
    assert len(quantized) == len(linear) - 1  # the head stays as it is
    assert {str(module.weight.dtype) for module in quantized} == {f"torch.{dtype}"}
    found = {None: engine.generate(asked()).text}
    for name in KINDS:
        alone = LocalEngine(folders[name], quantization=quantization, device="cpu")
        found[name] = engine.generate(asked(name)).text
        assert found[name] == alone.generate(asked()).text, name
    assert len(set(found.values())) == len(found)
    # None of them has changed the base, or how its weights are packed.
    assert engine.generate(asked()).text == found[None]


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(("quantization", "least", "most"), [("4bit", 0.03, 0.15), ("8bit", 0.0001, 0.03)])
def test_quantized_layers_give_nearly_what_they_gave(folder, quantization, least, most):
    exact, near = (
        LocalEngine(folder, quantization=how, dtype="float32", device="cpu")._models.model("").model.layers[0]
        for how in (None, quantization)
    )
    torch.manual_seed(0)
    given = torch.randn(16, 128)
    with torch.no_grad():
        for name in ("q_proj", "k_proj", "o_proj"):
            want, found = (getattr(layer.self_attn, name)(given) for layer in (exact, near))
            assert least < float((found - want).norm() / want.norm()) < most, name


@pytest.mark.usefixtures("bitsandbytes")
def test_compute_is_of_the_dtype_that_is_asked_for(folder):
    engine = LocalEngine(folder, quantization="4bit", dtype="float32", device="cpu")
    assert engine.describe().dtype == "float32"
    module = engine._models.model("").model.layers[0].self_attn.q_proj
    assert module.compute_dtype == torch.float32
    assert module.weight.quant_type == "nf4"


@pytest.mark.usefixtures("bitsandbytes")
def test_dora_over_8_bits_on_a_cpu(folder, tmp_path):
    dora = tiny_adapters.make_kind("dora", folder, tmp_path / "dora")
    for engine in ({"model": dora}, {"model": folder, "adapters": {"dora": dora}}):
        with pytest.raises(ConfigError, match="found DoRA; use quantization='4bit'"):
            LocalEngine(**engine, quantization="8bit", device="cpu")
    in_four = LocalEngine(dora, quantization="4bit", device="cpu")
    assert in_four.generate(asked()) == in_four.generate(asked())


@pytest.mark.usefixtures("bitsandbytes")
def test_a_model_that_is_no_whole_blocks(model_folder):
    assert LocalEngine(model_folder, quantization="4bit", device="cpu").generate(asked(tokens=2)).text


@pytest.mark.usefixtures("bitsandbytes")
def test_a_model_that_is_quantized_already(folder, tmp_path, tokenizer):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    bits = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=bits, device_map={"": "cpu"})
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelFormatError, match="not quantized yet"):
        LocalEngine(tmp_path, quantization="4bit", device="cpu")
    stored = LocalEngine(tmp_path, device="cpu")
    assert stored.describe().quantization is None
    assert stored.generate(asked(tokens=2)).usage.output_tokens == 2


def test_without_bitsandbytes(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'chatdoctor-hub\[quantized\]'"):
        LocalEngine(folder, quantization="4bit", device="cpu")


def test_a_quantization_that_does_not_exist(folder):
    with pytest.raises(ConfigError, match="one of 4bit, 8bit or None, found '3bit'"):
        LocalEngine(folder, quantization="3bit", device="cpu")


def test_a_device_without_support():
    with pytest.raises(ConfigError, match="found 'mps'; leave quantization out"):
        check_quantization("4bit", torch.device("mps"))


def test_nothing_asked_for_needs_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    check_quantization(None, torch.device("mps"))
