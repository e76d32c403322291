"""Fused layers against the model's own: the same logits and gradients, a reason otherwise, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.training import TrainingConfig
from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes import Passes, draws

LENGTHS = (5, 23, 2, 17, 40, 9)
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "mistral": {"sliding_window": 64},
    "opt": {"dropout": 0.0},
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "bloom": {"hidden_dropout": 0.0, "attention_dropout": 0.0},
}
MORE: dict[str, dict[str, Any]] = {
    "gemma": {"head_dim": 8, "num_key_value_heads": 1},
    "qwen3": {"head_dim": 8, "num_key_value_heads": 2},
    "phi": {"num_key_value_heads": 4},
    "gptj": {"rotary_dim": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "gpt_neox": {},
}
EXACT = {"precision": "float32", "workers": 1, "token_budget": 64}


@pytest.fixture
def any_model(build: Callable[..., Any]) -> Callable[[str], Any]:
    """A tiny model of one of the kinds above, without dropout."""

    def make(kind: str, **changes: Any) -> Any:
        if kind in SHAPES:
            return build(kind, **{**SHAPES[kind], **changes})
        return _another(kind)

    return make


def _another(kind: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    usual = {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if kind == "gptj":
        usual = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **usual, **MORE[kind])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def with_lora(model: Any, targets: Any = "all-linear", **changes: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return _off_zero(
        get_peft_model(
            model,
            LoraConfig(
                **{
                    "r": 3,
                    "lora_alpha": 5,
                    "target_modules": targets,
                    "task_type": "CAUSAL_LM",
                    **changes,
                }
            ),
        )
    )


def with_bottleneck(model: Any, kind: str, **changes: Any) -> Any:
    from peft import get_peft_model

    from chatdoctor_hub.adapters import ParallelConfig, SeriesConfig

    config = {"parallel": ParallelConfig, "series": SeriesConfig}[kind]
    return _off_zero(get_peft_model(model, config(bottleneck_size=6, task_type="CAUSAL_LM", **changes)))


def _off_zero(model: Any) -> Any:
    """U and B start at 0, where D and A have no gradient: move off it."""
    import torch

    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def gradients(model: Any, samples: list[Encoded], **changes: Any) -> tuple[Any, dict[str, Any], Passes]:
    import torch

    model.zero_grad()
    settings = TrainingConfig(**{**EXACT, **changes})
    with Passes(model, settings, [max(samples, key=len), min(samples, key=len)]) as passes:
        loss = passes.gradients(samples)
        total, count = passes.losses(samples)
    assert count == loss.learned
    if not draws(model):
        assert total == pytest.approx(loss.total, rel=1e-4 if passes.precision is torch.float32 else 1e-2)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    return loss, found, passes


def assert_equal_gradients(model: Any, samples: list[Encoded], **changes: Any) -> Passes:
    plain_loss, plain, _ = gradients(model, samples, speed="portable")
    loss, found, passes = gradients(model, samples, **changes)
    assert (passes.fused, passes.why) == (True, "")
    assert loss.total == pytest.approx(plain_loss.total, rel=1e-6)
    assert loss.learned == plain_loss.learned
    largest = max(float(gradient.norm()) for gradient in plain.values())
    assert largest > 1e-3
    for name, gradient in plain.items():
        # A gradient that is zero but for rounding has no relative error worth the name.
        assert float((found[name] - gradient).norm()) <= 1e-5 * max(float(gradient.norm()), 0.1 * largest), (
            name
        )
    return passes


@pytest.mark.parametrize("kind", [*SHAPES, *MORE])
def test_lora_gradients_are_those_of_the_models_own_layers(
    kind: str, any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    assert_equal_gradients(with_lora(any_model(kind)), draw(LENGTHS))


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": ["q_proj", "v_proj"]},
        {"targets": ["up_proj", "o_proj"], "r": 1, "lora_alpha": 32},
        {"targets": ["down_proj", "k_proj"], "use_rslora": True},
        {"targets": ["q_proj", "up_proj"], "layers_to_transform": [1]},
        {"rank_pattern": {"q_proj": 5}, "alpha_pattern": {"up_proj": 2}},
        {"r": 40},
        {"modules_to_save": ["q_proj"], "targets": ["v_proj", "up_proj"]},
    ],
    ids=["query-value", "rank-1", "rslora", "one-block", "mixed-ranks", "many-ranks", "one-trained-whole"],
)
def test_lora_of_any_rank_scale_and_targets(
    changes: dict[str, Any], any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    assert_equal_gradients(with_lora(any_model("llama"), **changes), draw(LENGTHS))


@pytest.mark.parametrize("architecture", ["llama", "opt", "bloom"])
@pytest.mark.parametrize("placement", ["linear", "block"])
@pytest.mark.parametrize("kind", ["parallel", "series"])
def test_bottlenecks_in_both_placements(
    kind: str,
    placement: str,
    architecture: str,
    any_model: Callable[..., Any],
    draw: Callable[..., list[Encoded]],
) -> None:
    if (architecture, kind, placement) == ("opt", "parallel", "block"):
        pytest.skip("the feed-forward layers of opt are in no module of their own")
    model = with_bottleneck(any_model(architecture), kind, placement=placement, scale=0.7)
    assert_equal_gradients(model, draw(LENGTHS))


@pytest.mark.parametrize("activation", ["identity", "relu", "silu", "gelu", "sigmoid", "gelu_pytorch_tanh"])
def test_bottlenecks_of_every_known_activation_with_a_learned_scale(
    activation: str, any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = with_bottleneck(any_model("llama"), "parallel", activation=activation, scale="learned")
    assert_equal_gradients(model, draw(LENGTHS))


def test_a_series_adapter_behind_linear_layers_of_one_input(
    any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = with_bottleneck(
        any_model("llama"),
        "series",
        placement="linear",
        position="output",
        target_modules=["q_proj", "up_proj", "down_proj"],
        scale="learned",
    )
    assert_equal_gradients(model, draw(LENGTHS))


def test_padded_batches_are_fused_layer_by_layer(
    any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = with_lora(any_model("mistral", sliding_window=16))
    assert not assert_equal_gradients(model, draw(LENGTHS)).flat


def test_recomputed_activations_change_no_gradient(
    any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = with_lora(any_model("llama"))
    assert_equal_gradients(model, draw(LENGTHS), checkpointing="on")
    assert not getattr(model, "is_activation_checkpointing", False)


@pytest.mark.parametrize("workers", [2, 3])
def test_neither_threads_nor_the_token_budget_change_the_gradient(
    workers: int, any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    for budget in (16, 8192):
        assert_equal_gradients(
            with_lora(any_model("llama")), draw(LENGTHS), workers=workers, token_budget=budget
        )


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("llama", {"use_dora": True}, "DoraLinearVariant"),
        ("llama", {"lora_dropout": 0.1}, "at random"),
        ("qwen2", {"lora_bias": True}, "bias"),
        ("qwen2", {"bias": "all"}, "weights of the base"),
    ],
    ids=["dora", "dropout", "lora-bias", "trained-biases"],
)
def test_what_cannot_be_fused_is_run_as_it_is_with_the_reason(
    kind: str,
    changes: dict[str, Any],
    reason: str,
    any_model: Callable[..., Any],
    draw: Callable[..., list[Encoded]],
) -> None:
    model = with_lora(any_model(kind), **changes)
    samples = draw(LENGTHS)
    loss, found, passes = gradients(model, samples)
    assert not passes.fused
    assert reason in passes.why
    if "lora_dropout" not in changes:
        plain_loss, plain, _ = gradients(model, samples, speed="portable")
        assert loss.total == pytest.approx(plain_loss.total, rel=1e-6)
        assert all((found[name] - plain[name]).abs().max() < 1e-4 for name in plain)


def test_a_model_without_an_adapter_or_portable_speed_is_not_fused(
    any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    assert gradients(any_model("llama"), draw(LENGTHS))[2].why == "no layer is adapted"
    lora = with_lora(any_model("llama"))
    assert gradients(lora, draw(LENGTHS), speed="portable")[2].why == "speed is portable"


def test_fused_layers_that_give_other_logits_are_taken_out(
    any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """A block of Llama's kind with a part that the fused one does not know of."""
    import torch

    model, samples = with_lora(any_model("llama")), draw(LENGTHS)
    model.base_model.model.model.layers[0].mlp.act_fn = torch.nn.Tanh()
    loss, _, passes = gradients(model, samples)
    assert "other logits" in passes.why
    assert loss.total == pytest.approx(gradients(model, samples, speed="portable")[0].total, rel=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_is_left_behind(
    workers: int,
    precision: str,
    any_model: Callable[..., Any],
    draw: Callable[..., list[Encoded]],
    tmp_path: Path,
) -> None:
    import torch
    from peft import PeftModel

    model, samples = with_lora(any_model("llama")), draw(LENGTHS)
    before = {name: item.clone() for name, item in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    attention, threads = model.config._attn_implementation, torch.get_num_threads()
    ids = torch.tensor([samples[1].ids])
    with torch.no_grad():
        logits = model(ids).logits
    _, _, passes = gradients(model, samples, workers=workers, precision=precision)
    assert passes.fused
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [module.training for module in model.modules()] == modes
    assert (model.config._attn_implementation, torch.get_num_threads()) == (attention, threads)
    assert not any("forward" in vars(module) for module in model.modules())
    # Weights that were joined have memory of their own again: safetensors refuses to write views.
    assert len({item.untyped_storage().data_ptr() for item in after.values()}) == len(
        {item.data_ptr() for item in after.values()}
    )
    with torch.no_grad():
        assert torch.equal(model(ids).logits, logits)
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(any_model("llama"), tmp_path / "adapter").eval()
    with torch.no_grad():
        assert (again(ids).logits - logits).abs().max() < 1e-5


def test_the_adapter_can_be_switched_off_while_fused(
    any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """As the objective that pulls towards the untuned model does."""
    import torch

    from chatdoctor_hub.training.passes import logits_of

    samples = draw(LENGTHS)
    for kind in ("llama", "opt"):
        base = any_model(kind)
        seen = []

        def extra(model: Any, batch: Any, logits: Any, targets: Any, seen: list[Any] = seen) -> Any:
            with torch.no_grad(), model.disable_adapter():
                seen.append((logits_of(model, batch), logits.detach(), targets))

        with torch.no_grad():
            expected = torch.cat(
                [
                    base(torch.tensor([s.ids])).logits[0, [n - 1 for n in range(1, len(s)) if s.labelled[n]]]
                    for s in sorted(samples, key=len, reverse=True)
                ]
            )
        model = with_lora(base)
        with Passes(model, TrainingConfig(**{**EXACT, "token_budget": 8192}), samples, extra=extra) as passes:
            assert passes.fused
            passes.gradients(samples)
        off, on, targets = seen[0]
        assert (off[targets >= 0] - expected).abs().max() < 1e-4
        assert (on[targets >= 0] - expected).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_losses_with_the_adapter_off_are_those_of_the_base(
    kind: str, any_model: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """Switched off before the passes begin, as a model is measured before and after tuning."""
    base, samples = any_model(kind), draw(LENGTHS)
    settings = TrainingConfig(**{**EXACT, "token_budget": 8192})
    with Passes(base, settings, samples) as passes:
        expected = passes.losses(samples)
    model = with_lora(base)
    with model.disable_adapter(), Passes(model, settings, samples) as passes:
        assert passes.losses(samples) == pytest.approx(expected, rel=1e-5)
    with Passes(model, settings, samples) as passes:
        assert abs(passes.losses(samples)[0] - expected[0]) > 1e-2


@pytest.mark.parametrize("rows", [1, 255, 256, 700])
def test_the_loss_in_chunks_is_that_of_torch(rows: int) -> None:
    import torch

    from chatdoctor_hub.training.passes.fused.likelihood import head_loss

    torch.manual_seed(rows)
    hidden = (3 * torch.randn(rows, 16)).requires_grad_()
    weight = 3 * torch.randn(50, 16)
    targets = torch.randint(0, 50, (rows,))
    targets[rows // 2 :: 3] = -100
    expected = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    (by_torch,) = torch.autograd.grad(0.3 * expected, hidden)
    found = head_loss(hidden, weight, targets)
    (by_chunks,) = torch.autograd.grad(0.3 * found, hidden)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-4)
    assert (by_chunks - by_torch).abs().max() < 1e-4


def test_a_target_that_the_model_rules_out_has_a_finite_loss() -> None:
    import torch

    from chatdoctor_hub.training.passes.fused.likelihood import head_loss

    hidden = torch.tensor([[200.0, 0.0]], requires_grad=True)
    loss = head_loss(hidden, torch.eye(2), torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[1.0, -1.0]]
