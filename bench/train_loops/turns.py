"""Loops in processes of their own that take their steps in turn: what else the machine does slows all alike."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from train_loops.clock import STEP_TAKEN

__all__ = ["OtherWork", "one_round"]


class _Loop:
    """A running loop. It has made its first step when this is made, and waits."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self._name, self._log = name, log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
            )
        self.found: dict[str, Any] | None = None
        self._listen()

    def step(self) -> None:
        """Let it take a step; after the last one, its figures."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._listen()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == STEP_TAKEN:
                return
            if line.startswith('{"value"'):
                self.found = json.loads(line)
        if self._process.wait() or self.found is None:
            raise SystemExit(f"{self._name} failed:\n{self._log.read_text('utf-8')[-3000:]}")

    def end(self) -> None:
        """Leave nothing running."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class OtherWork:
    """What the machine did beside this process and its ended children since this was made (Linux)."""

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        """Seconds by the clock, and seconds of cores that were busy with something else."""
        stat = Path("/proc/stat")
        if not stat.is_file():
            return time.monotonic(), float("nan")
        user, nice, system, _, _, irq, soft, steal = map(int, stat.read_text("ascii").split()[1:9])
        busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            busy -= used.ru_utime + used.ru_stime
        return time.monotonic(), busy

    def cores(self) -> float:
        """How many cores it kept busy on the average."""
        (began, before), (now, after) = self._began, self._now()
        return (after - before) / (now - began)


def one_round(names: list[str], script: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of each loop over one pass through the data."""
    loops: dict[str, _Loop] = {}
    try:
        for name in names:
            command = [sys.executable, script, "--loop", name, "--task", str(folder)]
            loops[name] = _Loop(name, command, folder / f"{name}.log")
        while left := [loop for loop in loops.values() if loop.found is None]:
            for loop in left:
                loop.step()
    finally:
        for loop in loops.values():
            loop.end()
    return {name: loop.found or {} for name, loop in loops.items()}
