"""Tokens and keys are found in every kind of file, and never repeated; ordinary words are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.hub.credentials import credentials_in, credentials_in_text

# Put together here, so that no scanner takes this file for a leak.
PLANTED = {
    "Hugging Face token": "hf_" + "aB3" * 11 + "x",
    "AWS access key": "AKIA" + "IOSFODNN7EXAMPLE"[:12] + "QWER",
    "AWS secret key": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "a1B2c" * 4,
    "OpenAI-style key": "sk-" + "proj-" + "a1B2" * 12,
    "Google key": "AIza" + "a1B2c" * 7,
    "Slack token": "xoxb-" + "123456789012-abc",
    "Stripe key": "sk_" + "live_" + "a1B2" * 6,
    "PyPI token": "pypi-" + "AgE" + "a1B2" * 20,
    "Weights & Biases key": "WANDB_API_KEY=" + "0a1b2c3d" * 5,
    "signed web token": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + "." + "SflKxwRJSMeKKF2",
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "password in an address": "postgres://admin:" + "hunter2hunter2@db.example.org/x",
}
ORDINARY = """
The patient took sk-ipped doses; task-based-learning-with-long-hyphenated-words-and-no-digits-at-all.
sha256 of its text: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
https://huggingface.co/datasets/me/talks and https://example.org:8080/a@b
hf_hub_download, hf_transfer and AKIAK are words; data/train-00000-of-00001.parquet
aws is a cloud and secret is a word. -----BEGIN PUBLIC KEY-----
"""


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind(kind: str) -> None:
    assert credentials_in_text(f"note: {PLANTED[kind]}\n".encode()) == {kind: 1}


def test_ordinary_words() -> None:
    assert credentials_in_text(ORDINARY.encode()) == {}


@given(st.text(alphabet="abcdefghijklmnop qrstuvwxyz.,-0123456789\n", max_size=2000))
def test_prose_is_left_alone(text: str) -> None:
    assert not {kind for kind in credentials_in_text(text.encode()) if kind != "OpenAI-style key"}


@given(st.integers(0, (1 << 20) + 2000))
def test_across_the_border_of_what_is_read_at_once(place: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "notes.txt"
        file.write_bytes(
            b"." * place + b" " + PLANTED["GitHub token"].encode() + b" " + b"." * ((1 << 20) + 3000 - place)
        )
        assert credentials_in(file) == {"GitHub token": 1}


def test_in_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    token = PLANTED["Hugging Face token"]
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": f"use {token} here"}]
    table = pa.table(
        {"id": ["1"], "messages": [talk], "kind": pa.array([PLANTED["GitHub token"]]).dictionary_encode()}
    )
    table = table.replace_schema_metadata({"note": PLANTED["Google key"]})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    found = credentials_in(tmp_path / "a.parquet")
    assert found.keys() == {"Hugging Face token", "GitHub token", "Google key"}


def test_in_the_header_of_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"token": PLANTED["Hugging Face token"]}}).encode()
    weights = PLANTED["GitHub token"].encode()  # numbers, not words
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + weights)
    assert credentials_in(tmp_path / "a.safetensors") == {"Hugging Face token": 1}
