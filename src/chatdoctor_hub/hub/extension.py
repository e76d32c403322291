"""`hf chatdoctor`: this library made known to the Hub's own command line, without a code host.

`hf` takes a folder `hf-NAME` with a `manifest.json` in its extensions folder for the command NAME, and starts
the executable that the manifest names (huggingface_hub 1.31 to 2.4, cli/extensions.py).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError, DataError
from chatdoctor_hub.folders import replacing_folder

__all__ = ["Extension", "extensions_folder", "install_extension", "remove_extension"]

_NAME = "hf-chatdoctor"
_MANIFEST = "manifest.json"
_STARTER = "start.py"
# `hf extensions update` installs what github.com has under this name; a dot cannot stand in a name there, so
# nobody can own it.
_OWNER = "installed.locally"
_DESCRIPTION = "Tune, release, publish, fetch and chat with safe medical chat models."
# When this file is younger than a day, `hf` does not ask github.com for updates of the extension.
_ASKED = ".latest_commit"
_NEVER = datetime(2037, 1, 1, tzinfo=timezone.utc).timestamp()

_PROGRAM = '''"""Starts chatdoctor for `hf`; written by `chatdoctor install-hf-extension`."""

from chatdoctor_hub.cli.app import app

app(prog_name="hf chatdoctor")
'''
_SHELL = """#!/bin/sh
# Starts chatdoctor for `hf`; written by `chatdoctor install-hf-extension`.
if [ ! -x {python} ]; then
    printf '%s\\n' {gone} >&2
    exit 2
fi
exec {python} {program} "$@"
"""


@dataclass(frozen=True)
class Extension:
    """The extension as `hf` finds it.

    Args:
        path: its folder.
        changed: False where it was there already, as it should be.
    """

    path: Path
    changed: bool


def extensions_folder() -> Path:
    """Where `hf` looks for extensions: below the home folder, whatever HF_HOME is.

    Raises:
        ConfigError: when this huggingface_hub has no extensions.
    """
    try:
        from huggingface_hub.cli.extensions import EXTENSIONS_ROOT
    except ImportError as error:
        raise ConfigError(
            "Expected a huggingface_hub whose `hf` has extensions (1.31 and later), found one without; run: "
            "pip install -U huggingface_hub"
        ) from error
    return Path(EXTENSIONS_ROOT).expanduser()


def install_extension() -> Extension:
    """Make `hf chatdoctor …` start this library, with the Python that runs now; again changes nothing.

    Raises:
        ConfigError: when another extension has the name, or there is no program to start.
        DataError: when the folder cannot be written.
        DiskSpaceError: when the disk is full.
    """
    folder = extensions_folder() / _NAME
    there = _manifest_in(folder)
    files = _files(folder)
    if there is not None and _is_as(folder, there, files):
        return Extension(folder, changed=False)
    with replacing_folder(folder, what=f"`hf` extension {_NAME}", marker=_MANIFEST) as new:
        for name, text in files.items():
            (new / name).write_text(text, encoding="utf-8")
        if _NAME in files:
            (new / _NAME).chmod(0o755)
        (new / _ASKED).touch()
        os.utime(new / _ASKED, (_NEVER, _NEVER))
        record = {**_manifest(folder), "installed_at": datetime.now(timezone.utc).isoformat()}
        (new / _MANIFEST).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return Extension(folder, changed=True)


def remove_extension() -> bool:
    """Undo `install_extension`; False where there is nothing to undo.

    Raises:
        ConfigError: when another extension has the name.
        DataError: when the folder cannot be removed.
    """
    folder = extensions_folder() / _NAME
    if _manifest_in(folder) is None:
        return False
    try:
        # Under a hidden name `hf` sees none of it, should the removal stop half way.
        aside = folder.with_name(f".{_NAME}.{os.getpid()}.old")
        folder.rename(aside)
        shutil.rmtree(aside)
    except OSError as error:
        raise DataError(
            f"Expected to remove the `hf` extension {str(folder)!r}, found: {error.strerror}; remove it by hand."
        ) from error
    return True


def _manifest_in(folder: Path) -> dict[str, Any] | None:
    """The manifest of the extension that is there, None where none is.

    Raises:
        ConfigError: when it is not ours.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    with suppress(OSError, ValueError):
        found = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("owner") == _OWNER:
            return found
    raise ConfigError(
        f"{folder}: expected no `hf` extension of that name, or the one that this command writes, found another; "
        "remove it with `hf extensions remove chatdoctor`, and do the same again."
    )


def _manifest(folder: Path) -> dict[str, Any]:
    """What `hf` wants to know, but for when it was installed."""
    return {
        "owner": _OWNER,
        "repo": _NAME,
        "repo_id": f"{_OWNER}/{_NAME}",
        "short_name": _NAME.removeprefix("hf-"),
        "executable_path": str(_executable(folder)),
        "type": "binary",
        "description": _DESCRIPTION,
        "commit_sha": None,
    }


def _executable(folder: Path) -> Path:
    if os.name != "nt":
        return folder / _NAME
    program = Path(sysconfig.get_path("scripts")) / "chatdoctor.exe"
    if not program.is_file():
        raise ConfigError(
            f"{program}: expected the program that pip installs, found none; run: pip install chatdoctor-hub"
        )
    return program


def _files(folder: Path) -> dict[str, str]:
    """What is written beside the manifest: name -> text."""
    if os.name == "nt":
        return {}  # the manifest names pip's own starter
    gone = f"chatdoctor: {sys.executable} is gone; run `chatdoctor install-hf-extension` again where it is installed."
    # A file of its own, because `python -c` and `python -m` would import from whatever folder the user is in.
    shell = _SHELL.format(
        python=shlex.quote(sys.executable),
        gone=shlex.quote(gone),
        program=shlex.quote(str(folder / _STARTER)),
    )
    return {_NAME: shell, _STARTER: _PROGRAM}


def _is_as(folder: Path, there: dict[str, Any], files: dict[str, str]) -> bool:
    """Whether all is there as it would be written now."""
    if {name: value for name, value in there.items() if name != "installed_at"} != _manifest(folder):
        return False
    with suppress(OSError, ValueError):
        datetime.fromisoformat(str(there.get("installed_at")))
        same = all((folder / name).read_text(encoding="utf-8") == text for name, text in files.items())
        return same and (_NAME not in files or os.access(folder / _NAME, os.X_OK))
    return False
