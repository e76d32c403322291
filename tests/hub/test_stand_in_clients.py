"""The stand-in Hub: `hf`, datasets, transformers and peft, as they are, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from stand_in_hub import StandInHub

CARD = "---\nlicense: apache-2.0\n---\n# A card\n"
TEMPLATE = "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' ' }}{% endfor %}"


def run(hub: StandInHub, *command: str, user: str | None = "me", fails: bool = False) -> str:
    """What a command prints."""
    environment = hub.environment(hub.token(user) if user else None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + (done.stderr if fails else "")


def python(hub: StandInHub, code: str, *arguments: str) -> str:
    return run(hub, sys.executable, "-c", code, *arguments)


@pytest.fixture
def xet_hub(tmp_path: Path) -> Iterator[StandInHub]:
    """A hub that takes both; which one it is, the client says, so that one process (torch!) can try both."""
    with StandInHub(tmp_path / "xet", xet=True) as hub:
        yield hub
        hub.check()


@pytest.fixture
def hf() -> str:
    found = Path(sys.executable).with_name("hf")
    if not found.exists():
        pytest.skip(f"the hf command is not at {found}")
    return str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "release"
    (made / "extra").mkdir(parents=True)
    (made / "README.md").write_text(CARD)
    (made / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 6_000)
    (made / "extra" / "prompt.txt").write_text("Be careful.")
    return made


def same(left: Path, right: Path) -> bool:
    names = sorted(path.relative_to(left) for path in left.rglob("*") if path.is_file())
    return all((right / name).read_bytes() == (left / name).read_bytes() for name in names)


def test_hf_uploads_and_downloads(
    hub_in_both_modes: StandInHub, hf: str, folder: Path, tmp_path: Path
) -> None:
    hub = hub_in_both_modes
    assert "me" in run(hub, hf, "auth", "whoami")
    run(hub, hf, "upload", "me/thing", str(folder), ".", "--private")
    assert hub.repo("me/thing").private
    out = tmp_path / "out"
    run(hub, hf, "download", "me/thing", "--local-dir", str(out))
    assert same(folder, out)
    assert any("xet-write-token" in path for _, path, _ in hub.requests) == hub.xet
    assert any(path.startswith("/storage/") for _, path, _ in hub.requests) != hub.xet


def test_hf_says_what_is_wrong(hub: StandInHub, hf: str) -> None:
    HfApi(endpoint=hub.url, token=hub.token("me")).create_repo("me/secret", private=True)
    assert "not found" in run(hub, hf, "download", "me/secret", user="stranger", fails=True).lower()


PUSH_AND_LOAD = """
import json
from datasets import Dataset, DatasetDict, load_dataset
from huggingface_hub import constants

rows = [{"id": str(n), "messages": [{"role": "user", "content": "q" * 50}]} for n in range(60)]
made = DatasetDict({"train": Dataset.from_list(rows[:50]), "test": Dataset.from_list(rows[50:])})
for mode in ("xet", "lfs"):
    constants.HF_HUB_DISABLE_XET = mode == "lfs"
    made.push_to_hub(f"me/{mode}", num_shards={"train": 2, "test": 1})
    back = load_dataset(f"me/{mode}")
    assert back["train"].to_list() == rows[:50] and back["test"].to_list() == rows[50:]
streamed = load_dataset("me/xet", split="train", streaming=True)
assert next(iter(streamed)) == rows[0]
shards = load_dataset("me/shards", revision="v1")
print(json.dumps({"rows": len(shards["train"]), "first": shards["train"][0]}))
"""


def test_datasets_pushes_and_loads(xet_hub: StandInHub, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    hub, folder = xet_hub, tmp_path / "shards"
    (folder / "data").mkdir(parents=True)
    for number in range(3):
        table = pyarrow.table({"id": [f"{number}-{row}" for row in range(10)]})
        parquet.write_table(table, folder / "data" / f"train-{number:05}-of-00003.parquet")
    (folder / "README.md").write_text(CARD)
    api = HfApi(endpoint=hub.url, token=hub.token("me"))
    api.create_repo("me/shards", repo_type="dataset")
    api.upload_folder(repo_id="me/shards", folder_path=folder, repo_type="dataset")
    api.create_tag("me/shards", tag="v1", repo_type="dataset")
    assert json.loads(python(hub, PUSH_AND_LOAD).splitlines()[-1]) == {"rows": 30, "first": {"id": "0-0"}}
    for mode in ("xet", "lfs"):
        repo = hub.repo(f"me/{mode}", type="dataset")
        shards = {path: entry for path, entry in sorted(repo.tree().items()) if path.endswith(".parquet")}
        assert [path.split("/")[1].split("-of-")[0] for path in shards] == [
            "test-00000",
            "train-00000",
            "train-00001",
        ]
        assert all(("xet_hash" in entry) == (mode == "xet") for entry in shards.values())
        assert b"dataset_info" in repo.files()["README.md"]


MAKE_AND_USE = """
import sys, torch
torch.set_num_threads(1)
from huggingface_hub import constants
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

words = {"<unk>": 0, "user": 1, "hello": 2, "you": 3}
inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
inner.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", chat_template=sys.argv[1])
torch.manual_seed(0)
shape = dict(vocab_size=64, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
base = LlamaForCausalLM(LlamaConfig(**shape))
for mode in ("xet", "lfs"):
    constants.HF_HUB_DISABLE_XET = mode == "lfs"
    base.push_to_hub(f"me/{mode}-base", private=True)
    tokenizer.push_to_hub(f"me/{mode}-base")
    loaded, again = AutoModelForCausalLM.from_pretrained(f"me/{mode}-base"), AutoTokenizer.from_pretrained(f"me/{mode}-base")
    assert torch.equal(loaded.model.embed_tokens.weight, base.model.embed_tokens.weight)
    chat = [{"role": "user", "content": "hello you"}]
    ids = again.apply_chat_template(chat, return_tensors="pt", return_dict=False)
    assert ids.tolist() == [[1, 2, 3]], ids
    tuned = get_peft_model(loaded, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    tuned.eval()
    tuned.push_to_hub(f"me/{mode}-adapter")
    fresh = AutoModelForCausalLM.from_pretrained(f"me/{mode}-base")
    served = PeftModel.from_pretrained(fresh, f"me/{mode}-adapter", revision="main")
    served.eval()
    with torch.no_grad():
        assert torch.equal(served(ids).logits, tuned(ids).logits)
    by_name = AutoModelForCausalLM.from_pretrained(f"me/{mode}-adapter")
    assert by_name.active_adapters()
"""


def test_transformers_and_peft_push_and_load(xet_hub: StandInHub) -> None:
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package)
    python(xet_hub, MAKE_AND_USE, TEMPLATE)
    expected = {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"}
    for mode in ("xet", "lfs"):
        base, adapter = xet_hub.repo(f"me/{mode}-base"), xet_hub.repo(f"me/{mode}-adapter")
        assert base.private
        assert expected <= base.files().keys()
        assert {"adapter_model.safetensors", "adapter_config.json", "README.md"} <= adapter.files().keys()
        assert ("xet_hash" in base.tree()["model.safetensors"]) == (mode == "xet")
