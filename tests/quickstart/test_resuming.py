"""Reruns and interrupts: what is done stays done, what is not is never half-written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_job import STEPS, Done, merged_weights, perform, settings_for, weights_of

from chatdoctor_hub import folders
from chatdoctor_hub.corpus import Corpus
from chatdoctor_hub.release import load_manifest
from chatdoctor_hub.training.passes import Passes


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of change of every file, hidden ones too."""
    return {
        file.relative_to(folder).as_posix(): (
            hashlib.sha256(file.read_bytes()).hexdigest(),
            file.stat().st_mtime_ns,
        )
        for file in folder.rglob("*")
        if file.is_file()
    }


def json_of(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_a_rerun_does_nothing_and_says_the_same(done: Done) -> None:
    before, started = state_of(done.out), time.monotonic()
    again = perform(done.settings)
    assert time.monotonic() - started < 10
    assert state_of(done.out) == before
    assert again.reused == [True] * 7
    assert (
        again.printed.split("What was measured")[1].split("Took")[0]
        == (done.printed.split("What was measured")[1].split("Took")[0])
    )


def test_another_seed_redoes_everything_from_the_corpus_on(
    done: Done, copied: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copied()
    before = json_of(out / "steps.json")
    # The new corpus is all that is needed to see it; Ctrl-C in the next step spares the rest.
    monkeypatch.setattr(Passes, "gradients", _interrupting(Passes.gradients, lambda *_: True))
    with pytest.raises(KeyboardInterrupt):
        perform(dataclasses.replace(done.settings, out=out, seed=1))
    after = json_of(out / "steps.json")
    assert [name for name in STEPS if after[name] != before[name]] == ["corpus"]
    digests = [Corpus.open(folder / "corpus").digest for folder in (done.out, out)]
    assert digests == [before["corpus"]["found"]["digest"], after["corpus"]["found"]["digest"]]
    assert digests[0] != digests[1]


def test_a_folder_that_was_deleted_is_made_again(
    done: Done, copied: Callable[[], Path], tmp_path: Path
) -> None:
    out = copied()
    shutil.rmtree(out / "tuning")
    again = perform(dataclasses.replace(done.settings, out=out))
    assert again.reused[:4] == [True, True, True, False]
    assert weights_of(out / "release") == merged_weights(out, tmp_path / "merged")


def test_changed_tuning_leaves_what_was_before_it_alone(done: Done, copied: Callable[[], Path]) -> None:
    out = copied()
    slower = done.settings.training.model_copy(update={"lr": 1e-4})
    again = perform(dataclasses.replace(done.settings, out=out, training=slower))
    assert again.reused == [True, True, True, False, False, False, False]
    assert load_manifest(out / "release").recipe["training"]["lr"] == 1e-4


def test_a_ledger_that_cannot_be_read_counts_as_empty(done: Done, copied: Callable[[], Path]) -> None:
    from chatdoctor_hub.quickstart.ledger import Ledger

    out = copied()
    key = json_of(out / "steps.json")["corpus"]["key"]
    assert Ledger(out).finished("corpus", key) is not None
    assert Ledger(out).finished("corpus", "other") is None
    for text in ("{", "[]", "null", '{"corpus": 1}', ""):
        (out / "steps.json").write_text(text, encoding="utf-8")
        assert Ledger(out).finished("corpus", key) is None


def test_ctrl_c_at_any_step_leaves_nothing_half_written_and_the_rerun_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the last moment of each step, and in the middle of the two that train."""
    settings = settings_for(tmp_path / "quickstart", epochs=0.2)
    real_swap, real_step = folders._swap, Passes.gradients

    def interrupted(patch: Callable[[pytest.MonkeyPatch], None]) -> list[str]:
        with monkeypatch.context() as patched:
            patch(patched)
            with pytest.raises(KeyboardInterrupt):
                perform(settings)
        return sorted(path.name for path in settings.out.iterdir())

    def in_training(patched: pytest.MonkeyPatch) -> None:
        patched.setattr(Passes, "gradients", _interrupting(real_step, lambda calls, *_: calls == 2))

    for number, name in enumerate(STEPS):
        complete = sorted([*STEPS[:number], *(["steps.json"] if number else [])])

        def at_the_end(patched: pytest.MonkeyPatch, name: str = name) -> None:
            last = _interrupting(real_swap, lambda _, new, target, *__: target.name == name)
            patched.setattr(folders, "_swap", last)

        assert interrupted(at_the_end) == complete
        if name in ("base", "tuning"):
            assert interrupted(in_training) == complete
        assert list(json_of(settings.out / "steps.json") if number else {}) == list(STEPS[:number])
    again = perform(settings)
    assert again.reused == [*[True] * 6, False]
    assert load_manifest(settings.out / "release").name == "chatdoctor-quickstart"
    assert perform(settings).reused == [True] * 7


def _interrupting(real: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    """The real thing until `when(number of the call, *arguments)`, and Ctrl-C then."""
    calls = 0

    def call(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if when(calls, *given):
            raise KeyboardInterrupt
        return real(*given, **more)

    return call


def test_a_step_that_was_not_entered_is_done_again(
    done: Done, copied: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between a folder's taking its name and the ledger."""
    out = copied()
    ledger = json_of(out / "steps.json")
    (out / "steps.json").write_text(
        json.dumps({k: v for k, v in ledger.items() if k != "chat"}), encoding="utf-8"
    )
    again = perform(dataclasses.replace(done.settings, out=out))
    assert again.reused == [*[True] * 6, False]
    assert json_of(out / "chat" / "answers.json") == json_of(done.out / "chat" / "answers.json")


def test_bad_input_leaves_what_was_done_before_it_whole(tmp_path: Path) -> None:
    from chatdoctor_hub.errors import DataError

    file = tmp_path / "silent.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "hello"}]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"silent\.jsonl"):
        perform(settings_for(tmp_path / "out", epochs=0.2, dialogues=file))
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"knowledge", "steps.json"}


def test_an_out_that_is_a_file_is_kept(tmp_path: Path) -> None:
    from chatdoctor_hub.errors import DataFormatError

    file = tmp_path / "out"
    file.write_text("years of work", encoding="utf-8")
    for out in (file, file / "below"):
        with pytest.raises(DataFormatError, match="expected a folder to write to, found a file"):
            perform(settings_for(out, epochs=0.2))
    assert file.read_text(encoding="utf-8") == "years of work"


def test_too_little_room_on_the_disk_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatdoctor_hub.errors import DiskSpaceError

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 * 2**20))
    with pytest.raises(DiskSpaceError, match="MiB of free disk space, found 10 MiB"):
        perform(settings_for(tmp_path / "out", epochs=0.2))
    assert not (tmp_path / "out").exists()
