"""Twins: the same weights in other modules."""

from __future__ import annotations

import pytest

from chatdoctor_hub.inference.weights.sharing import twin_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SMALL, intermediate_size=64, tie_word_embeddings=True),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4),
    "bloom": lambda: transformers.BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4),
    "mistral": lambda: transformers.MistralConfig(
        **SMALL, intermediate_size=64, num_key_value_heads=2, sliding_window=4
    ),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **SMALL, intermediate_size=64, num_key_value_heads=2, head_dim=8, sliding_window=4
    ),
    "mixtral": lambda: transformers.MixtralConfig(
        **SMALL, intermediate_size=64, num_key_value_heads=2, num_local_experts=2
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param]()).eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(12).unsqueeze(0)).logits


def test_a_twin_computes_the_same_with_the_same_memory(model):
    twin = twin_of(model)
    assert type(twin) is type(model)
    assert torch.equal(logits(twin), logits(model))
    mine, its = ({id(module) for module in one.modules()} for one in (model, twin))
    assert not mine & its
    assert len(mine) == len(its)
    pairs = list(zip(model.named_parameters(), twin.named_parameters(), strict=True))
    assert all(one[0] == other[0] for one, other in pairs)
    assert all(one[1].data_ptr() == other[1].data_ptr() for one, other in pairs)
    assert not twin.training
    twin.train()
    assert not model.training


def test_what_is_done_to_a_twin_stays_with_it(model):
    before = logits(model)
    twin = twin_of(model)
    name = next(
        name for name, module in twin.named_modules() if "mlp" in name and not list(module.children())
    )
    twin.set_submodule(name, torch.nn.Dropout(1.0))
    weight = next(twin.parameters())
    weight.data = weight.data * 2
    twin.register_forward_hook(lambda *_: pytest.fail("a hook of the twin"))
    assert torch.equal(logits(model), before)


def test_tied_weights_stay_tied():
    model = transformers.LlamaForCausalLM(CONFIGS["llama"]())
    twin = twin_of(model)
    assert twin.lm_head.weight is twin.model.embed_tokens.weight
    assert twin.lm_head.weight is not model.lm_head.weight


def test_a_copy_of_what_will_be_written():
    model = transformers.LlamaForCausalLM(CONFIGS["llama"]())
    twin = twin_of(model, ["model.embed_tokens.weight"])
    with torch.no_grad():
        twin.model.embed_tokens.weight.zero_()
    assert model.model.embed_tokens.weight.abs().sum() > 0
    assert twin.lm_head.weight.abs().sum() == 0  # tied
    assert twin.model.norm.weight.data_ptr() == model.model.norm.weight.data_ptr()


def test_a_twin_of_a_twin():
    model = transformers.LlamaForCausalLM(CONFIGS["llama"]())
    assert torch.equal(logits(twin_of(twin_of(model))), logits(model))
