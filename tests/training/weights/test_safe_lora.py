"""Safe LoRA against a reference of ten lines in float64."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file, save_file  # noqa: E402

from chatdoctor_hub.errors import ConfigError, ModelFormatError, ModelNotFoundError  # noqa: E402
from chatdoctor_hub.training.recipe.options import SafeLoraConfig  # noqa: E402
from chatdoctor_hub.training.weights import project_safe_lora  # noqa: E402


@pytest.fixture
def unaligned(tiny_base: Path, tmp_path: Path) -> Path:
    """The tiny base with other weights in all layers, in two files as large models come."""
    folder = shutil.copytree(tiny_base, tmp_path / "unaligned")
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(4)
    moved = {
        name: tensor + (0.1 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
        for name, tensor in weights.items()
    }
    (folder / "model.safetensors").unlink()
    for part, names in enumerate((sorted(moved)[::2], sorted(moved)[1::2])):
        save_file({name: moved[name] for name in names}, folder / f"model-{part}.safetensors")
    return folder


def reference(aligned: Any, unaligned: Any, down: Any, up: Any) -> tuple[float, Any]:
    """arXiv 2405.16833: C = V V^T / |V|, cosine of B A and C B A."""
    v = aligned.double() - unaligned.double()
    c = v @ v.T / torch.linalg.norm(v)
    update = up.double() @ down.double()
    projected = c @ update
    cosine = torch.nn.functional.cosine_similarity(update.flatten(), projected.flatten(), dim=0)
    return float(cosine), projected


def test_each_module_is_projected_as_in_the_paper(
    finished: Callable[..., Any], tiny_base: Path, unaligned: Path
) -> None:
    run, _ = finished(r=4, alpha=8)
    file = run.adapter / "adapter_model.safetensors"
    before = load_file(file)
    first = project_safe_lora(
        run.adapter, SafeLoraConfig(unaligned=str(unaligned), threshold=-0.5), str(tiny_base)
    )
    assert first.projected == ()
    threshold = sorted(first.cosines.values())[len(first.cosines) // 2]
    config = SafeLoraConfig(unaligned=str(unaligned), threshold=threshold)
    report = project_safe_lora(run.adapter, config, str(tiny_base))
    after = load_file(file)
    aligned = load_file(tiny_base / "model.safetensors")
    base = {n: t for part in sorted(unaligned.glob("*.safetensors")) for n, t in load_file(part).items()}
    assert len(report.cosines) == 7
    for module, cosine in report.cosines.items():
        names = [f"base_model.model.{module}.lora_{matrix}.weight" for matrix in "AB"]
        expected, projected = reference(
            aligned[f"{module}.weight"].float(), base[f"{module}.weight"].float(), *(before[n] for n in names)
        )
        assert cosine == pytest.approx(expected, abs=2e-5)
        assert torch.equal(after[names[0]], before[names[0]])
        update = after[names[1]].double() @ after[names[0]].double()
        if module in report.projected:
            assert cosine < threshold
            torch.testing.assert_close(update, projected, rtol=1e-4, atol=1e-6)
        else:
            assert cosine >= threshold
            assert torch.equal(after[names[1]], before[names[1]])
    assert 0 < len(report.projected) < 7
    record = report.to_record()
    assert (record["status"], record["unaligned"]) == ("contested", str(unaligned))
    assert record["projected"] == list(report.projected)


def test_the_two_models_must_differ_and_be_alike(
    finished: Callable[..., Any], tiny_base: Path, unaligned: Path, tmp_path: Path
) -> None:
    run, _ = finished(r=4, alpha=8)
    before = (run.adapter / "adapter_model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="whose weights are the same; name the base before"):
        project_safe_lora(run.adapter, SafeLoraConfig(unaligned=str(tiny_base)), str(tiny_base))
    with pytest.raises(ModelNotFoundError, match="gone"):
        project_safe_lora(run.adapter, SafeLoraConfig(unaligned=str(tmp_path / "gone")), str(tiny_base))
    weights = load_file(unaligned / "model-0.safetensors")
    name = next(name for name in weights if "proj" in name)
    save_file({**weights, name: torch.zeros(3, 5)}, unaligned / "model-0.safetensors")
    with pytest.raises(ModelFormatError, match=r"unaligned: expected .* of shape .*, found \(3, 5\)"):
        project_safe_lora(run.adapter, SafeLoraConfig(unaligned=str(unaligned)), str(tiny_base))
    del weights[name]
    save_file(weights, unaligned / "model-0.safetensors")
    with pytest.raises(ModelFormatError, match=f"expected a weight {name}, found none"):
        project_safe_lora(run.adapter, SafeLoraConfig(unaligned=str(unaligned)), str(tiny_base))
    (unaligned / "model-1.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelFormatError, match="found torn ones"):
        project_safe_lora(run.adapter, SafeLoraConfig(unaligned=str(unaligned)), str(tiny_base))
    assert (run.adapter / "adapter_model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("adapter", "found"),
    [({"variant": "dora"}, "DoRA"), ({"kind": "series", "bottleneck_size": 4}, "SERIES")],
)
def test_only_a_plain_lora_is_projected(
    adapter: dict[str, Any], found: str, finished: Callable[..., Any], tiny_base: Path, unaligned: Path
) -> None:
    run, _ = finished(**adapter)
    with pytest.raises(ConfigError, match=f"expected a plain LoRA, .* found {found}"):
        project_safe_lora(run.adapter, SafeLoraConfig(unaligned=str(unaligned)), str(tiny_base))
