"""Saving from two processes: every one calls, what is sharded is gathered, the first writes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file  # noqa: E402

from chatdoctor_hub.training import RecipeConfig  # noqa: E402
from chatdoctor_hub.training.weights import load_tunable, save_trained  # noqa: E402

PROGRAM = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from chatdoctor_hub.training import RecipeConfig
from chatdoctor_hub.training.weights import load_tunable, save_trained

torch.set_num_threads(1)
dist.init_process_group("gloo")
recipe, base, out = sys.argv[1:]
config = RecipeConfig.load(recipe)
model = load_tunable(config, Path(base), torch.float32, "cpu")
mesh = init_device_mesh("cpu", (2,))
for module in model.modules():
    if type(module).__name__ == "LlamaDecoderLayer":
        fully_shard(module, mesh=mesh)
fully_shard(model, mesh=mesh)
assert all(hasattr(parameter, "full_tensor") for parameter in model.parameters())
save_trained(model, config, Path(out))
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "saved"),
    [
        ({"r": 4, "alpha": 8}, "adapter/adapter_model.safetensors"),
        ({"r": 4, "alpha": 8, "variant": "pissa"}, "adapter/adapter_model.safetensors"),
        ({"kind": "series", "bottleneck_size": 4}, "adapter/adapter_model.safetensors"),
        ({"kind": "full"}, "model/model.safetensors"),
    ],
    ids=["lora", "pissa", "series", "full"],
)
def test_shards_are_saved_as_one_process_would(
    adapter: dict[str, Any], saved: str, recipe: Callable[..., RecipeConfig], tiny_base: Path, tmp_path: Path
) -> None:
    config = recipe(adapter=adapter)
    (tmp_path / "recipe.yaml").write_text(config.to_yaml(), encoding="utf-8")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    save_trained(load_tunable(config, tiny_base, torch.float32, "cpu"), config, tmp_path / "one")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    arguments = [str(tmp_path / "recipe.yaml"), str(tiny_base), str(tmp_path / "two")]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={**os.environ, **shared, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    one, two = (load_file(tmp_path / name / saved) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
