"""`hf chatdoctor`: what `hf` itself, as it is installed, makes of the extension."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stand_in_hub import StandInHub
from typer.testing import CliRunner

from chatdoctor_hub.cli.app import app
from chatdoctor_hub.errors import ConfigError, DataError
from chatdoctor_hub.hub import publish
from chatdoctor_hub.hub.extension import extensions_folder, install_extension, remove_extension

HF = Path(sys.executable).with_name("hf")
PACKAGE = Path(__file__).parents[2] / "integrations" / "hf-chatdoctor"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the starter is one of pip's there")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a blank and a quote in its name."""
    folder = tmp_path / "it's home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def hf(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `hf` in an empty folder, with nothing of this process's account."""
    if not HF.is_file():
        pytest.skip("`hf` is not beside this Python")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    own = {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "COLUMNS": "200",
    }
    return subprocess.run(
        [HF, *arguments],
        env={**kept, **own, **environment},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(folder.iterdir())
        if file.is_file()
    }


def test_hf_knows_the_extension_until_it_is_removed(home: Path) -> None:
    assert "chatdoctor" not in hf(home, "--help").stdout
    made = install_extension()
    assert made.changed
    assert made.path == home / ".local/share/hf/extensions/hf-chatdoctor"
    line = next(line for line in hf(home, "--help").stdout.splitlines() if "chatdoctor" in line)
    assert "Tune, release, publish, fetch and chat" in line
    listed = hf(home, "extensions", "list")
    assert listed.returncode == 0, listed.stderr
    assert "hf chatdoctor" in listed.stdout
    shown = hf(home, "chatdoctor", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "hf chatdoctor [OPTIONS]" in shown.stdout
    for verb in ("train", "release", "publish", "fetch", "chat"):
        assert f" {verb} " in shown.stdout
    assert remove_extension()
    assert "chatdoctor" not in hf(home, "--help").stdout
    assert list(extensions_folder().iterdir()) == []


def test_arguments_and_exit_status_come_through(home: Path) -> None:
    install_extension()
    (home / "chatdoctor_hub.py").write_text("raise SystemExit('taken from the folder one is in')")
    recipe = hf(home, "chatdoctor", "recipes", "default")
    assert recipe.returncode == 0, recipe.stderr
    assert "adapter:" in recipe.stdout
    wrong = hf(home, "chatdoctor", "release", "no such run", "--license", "mit", "--out", "out")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("chatdoctor:")
    assert "no such run" in wrong.stderr


def test_the_token_of_hf_is_that_of_the_extension(home: Path, hub: StandInHub, slim: Path) -> None:
    """Without one it is refused; `hf auth login` leaves one in a file; HF_TOKEN goes before that."""
    token = hub.token("me")
    publish(slim, "me/tiny", endpoint=hub.url, token=token)
    assert hub.repo("me/tiny").private
    install_extension()
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    (home / "hf").mkdir(exist_ok=True)
    for way in ("none", "file", "variable"):
        kept = home / "hf/token"
        if way == "file":
            kept.write_text(token)
            settings["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "0"
        elif way == "variable":
            kept.write_text(hub.token("stranger"))
            settings["HF_TOKEN"] = token
        done = hf(home, "chatdoctor", "fetch", "me/tiny", "--out", way, **settings)
        assert done.returncode == (2 if way == "none" else 0), done.stderr
        if way == "none":
            assert not (home / way).exists()
        else:
            assert (home / way / "chatdoctor.json").read_bytes() == (slim / "chatdoctor.json").read_bytes()


def test_hf_asks_no_code_host_for_it(home: Path) -> None:
    """github.com must not be asked for a name that a stranger could take there."""
    path = install_extension().path
    before = files_of(path)
    # `hf` asks when what it has been told is a day old.
    assert (path / ".latest_commit").stat().st_mtime > time.time() + 5 * 365 * 24 * 3600
    done = hf(
        home, "chatdoctor", "--version", HF_HUB_DISABLE_UPDATE_CHECK="0", HTTPS_PROXY="http://127.0.0.1:9"
    )
    assert done.returncode == 0
    assert "new version" not in done.stdout + done.stderr
    assert files_of(path) == before
    owner = json.loads((path / "manifest.json").read_text())["owner"]
    assert "." in owner


def test_again_changes_nothing_and_what_is_broken_is_mended(home: Path) -> None:
    path = install_extension().path
    before = files_of(path)
    assert not install_extension().changed
    assert files_of(path) == before
    for harm in (
        lambda: (path / "start.py").unlink(),
        lambda: (path / "hf-chatdoctor").write_text("#!/bin/sh\n"),
        lambda: (path / "hf-chatdoctor").chmod(0o644),
    ):
        harm()
        assert install_extension().changed
        assert {name: text for name, (text, _) in files_of(path).items() if name != "manifest.json"} == {
            name: text for name, (text, _) in before.items() if name != "manifest.json"
        }
        assert hf(home, "chatdoctor", "--version").returncode == 0


def test_an_extension_of_others_is_left_alone(home: Path) -> None:
    folder = extensions_folder() / "hf-chatdoctor"
    folder.mkdir(parents=True)
    for text in (json.dumps({"owner": "somebody", "repo": "hf-chatdoctor"}), "{", None):
        (folder / "manifest.json").unlink(missing_ok=True)
        (folder / "venv").mkdir(exist_ok=True)
        if text is not None:
            (folder / "manifest.json").write_text(text)
        for act in (install_extension, remove_extension):
            with pytest.raises(ConfigError, match="hf extensions remove chatdoctor"):
                act()
        assert sorted(path.name for path in folder.parent.iterdir()) == ["hf-chatdoctor"]
        assert (folder / "venv").is_dir()


def test_a_place_that_cannot_be_written_is_told_and_left_as_it_was(home: Path) -> None:
    (home / ".local").write_text("a file")
    with pytest.raises(DataError, match="choose a place"):
        install_extension()
    assert [path.name for path in home.iterdir()] == [".local"]


def test_a_python_that_is_gone_is_told(home: Path) -> None:
    path = install_extension().path
    starter = path / "hf-chatdoctor"
    starter.write_text(starter.read_text().replace(sys.executable, "/no/such/python"))
    done = hf(home, "chatdoctor", "--version")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("run `chatdoctor install-hf-extension` again where it is installed.")


def test_the_command(home: Path) -> None:
    run = CliRunner().invoke
    installed = run(app, ["install-hf-extension"])
    assert installed.exit_code == 0, installed.output
    assert "Installed in" in installed.output
    assert "already" in run(app, ["install-hf-extension"]).output
    assert run(app, ["install-hf-extension", "--remove"]).output == "Removed.\n"
    assert "was not installed" in run(app, ["install-hf-extension", "--remove"]).output


def test_the_package_for_a_code_host_starts_the_same_verbs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`hf extensions install` reads manifest.json and pyproject.toml, and needs the console script hf-chatdoctor."""
    project = (PACKAGE / "pyproject.toml").read_text(encoding="utf-8")
    assert 'hf-chatdoctor = "hf_chatdoctor:main"' in project
    description = json.loads((PACKAGE / "manifest.json").read_text(encoding="utf-8"))["description"]
    assert f'description = "{description}"' in project
    spec = importlib.util.spec_from_file_location("hf_chatdoctor", PACKAGE / "src/hf_chatdoctor/__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["hf-chatdoctor", "fetch", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert "hf chatdoctor fetch" in capsys.readouterr().out
