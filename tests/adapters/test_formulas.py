"""Each formula against a few plain lines in float64."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import get_peft_model  # noqa: E402

from chatdoctor_hub.adapters import ParallelConfig, SeriesConfig  # noqa: E402
from chatdoctor_hub.errors import ModelFormatError  # noqa: E402

SIGMA = {"tanh": torch.tanh, "relu": torch.relu, "identity": lambda x: x, "silu": torch.nn.functional.silu}


class Host(torch.nn.Module):
    """One linear layer in a model that PEFT accepts."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.one = torch.nn.Linear(5, 3, bias=bias)

    def forward(self, x: Any) -> Any:
        return self.one(x)


def adapted(config: Any, bias: bool = True) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = get_peft_model(Host(bias).double(), config, autocast_adapter_dtype=False).eval()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.7)
            assert parameter.dtype == torch.float64, name
    return model, model.base_model.model.one


def reference(config: Any, layer: Any, x: Any) -> Any:
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    bias = 0.0 if bias is None else bias
    down, up = layer.down["default"].weight, layer.up["default"].weight
    scale = layer.learned_scale["default"] if config.scale == "learned" else config.scale

    def bottleneck(value: Any) -> Any:
        return scale * (SIGMA[config.activation](value @ down.T) @ up.T)

    if isinstance(config, ParallelConfig):
        return x @ weight.T + bias + bottleneck(x)
    if config.position == "input":
        return (x + bottleneck(x)) @ weight.T + bias
    given = x @ weight.T + bias
    return given + bottleneck(given)


def configs() -> list[Any]:
    common = {"bottleneck_size": 2, "placement": "linear", "target_modules": ["one"]}
    return [
        kind(**common, **where, activation=activation, scale=scale)
        for kind, where in (
            (SeriesConfig, {"position": "input"}),
            (SeriesConfig, {"position": "output"}),
            (ParallelConfig, {}),
        )
        for activation in SIGMA
        for scale in (1, 4.0, "learned")
    ]


def name_of(config: Any) -> str:
    return f"{config.peft_type}-{getattr(config, 'position', '')}-{config.activation}-{config.scale}"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("config", configs(), ids=name_of)
def test_forward_is_the_formula(config: Any, bias: bool) -> None:
    model, layer = adapted(config, bias)
    x = torch.randn(4, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(model(x), reference(config, layer, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("config", configs(), ids=name_of)
def test_a_linear_adapter_merges_exactly_and_another_not_at_all(config: Any, bias: bool) -> None:
    model, layer = adapted(config, bias)
    x = torch.randn(4, 5, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(x)
    if config.activation != "identity":
        with pytest.raises(ModelFormatError, match=f"activation '{config.activation}'.* serve it as it is"):
            model.merge_adapter()
        with pytest.raises(ModelFormatError, match="serve it as it is"):
            model.merge_and_unload()
    else:
        model.merge_adapter()
        assert layer.merged
        torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)
        model.unmerge_adapter()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("config", configs(), ids=name_of)
def test_gradients_reach_every_adapter_weight_and_nothing_else(config: Any) -> None:
    model, layer = adapted(config)
    model(torch.randn(4, 5, dtype=torch.float64)).square().sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert all(
        parameter.grad.abs().sum() > 0 for parameter in model.parameters() if parameter.grad is not None
    )
    kinds = {"down", "up", "scale"} if config.scale == "learned" else {"down", "up"}
    assert {
        name.split(".")[-3 if name.endswith("weight") else -2].split("_")[-1] for name in trained
    } == kinds
    assert layer.base_layer.weight.grad is None


def test_dropout_acts_on_the_input_of_the_bottleneck_while_training_only() -> None:
    config = ParallelConfig(bottleneck_size=2, placement="linear", target_modules=["one"], dropout=0.5)
    model, layer = adapted(config)
    x = torch.randn(64, 5, dtype=torch.float64)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
    dropped = [layer.dropouts["default"](x) for _ in range(200)]
    torch.testing.assert_close(torch.stack(dropped).mean(0), x, rtol=0.4, atol=0.4)


def test_bert_init_is_drawn_and_identity_init_is_an_identity() -> None:
    for kind in (SeriesConfig, ParallelConfig):
        host = Host(bias=True)
        x = torch.randn(3, 5)
        expected = host(x)
        model = get_peft_model(host, kind(bottleneck_size=2, target_modules=["one"], placement="linear"))
        assert torch.equal(model(x), expected)
        host = torch.nn.Sequential(torch.nn.Linear(300, 300))
        big = get_peft_model(
            host, kind(bottleneck_size=256, target_modules=["0"], placement="linear", init="bert")
        )
        layer = big.base_model.model[0]
        for weight in (layer.down["default"].weight, layer.up["default"].weight):
            assert abs(weight.std().item() - 0.02) < 0.001
            assert abs(weight.mean().item()) < 0.001
