"""The chat model and its engines beside LangChain's: import, construction, streams, calls at once, batches.

python bench/chat.py [--rounds 7] [--only import chunk …] [--json]
python bench/chat.py --gpu [--shape tiny]

All sides of a line do the same in one process, in turn, after one time that is not counted; figures are medians
over the rounds, with their range, and ratios are taken round by round (above 1, ours is ahead). The server is a
process of its own that answers at once with what it has ready, so that what is measured is the client. The model in this
process is a random Llama of hidden size 256 and 4 layers, in float32. Peers that are not installed are named
(`pip install langchain-huggingface langchain-openai`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from chat_sides import endpoint, starting
from chat_sides.rounds import Contest, show

OF_SERVER: dict[str, Callable[[str], Contest]] = {
    "constructions": starting.constructing,
    "chunk": endpoint.streaming,
    "calls": endpoint.calling,
}
LOCAL = ("batch", "ainvoke", "first-token")
ALL = ("import", *OF_SERVER, *LOCAL)
# What takes long, or hardly anything, is measured less often, or more.
TIMES = {"batch": 0.5, "constructions": 5, "first-token": 3}


def measured(names: list[str], rounds: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def add(name: str, contest: Contest) -> None:
        rows.extend(contest.rows(max(3, int(rounds * TIMES.get(name, 1)))))

    if "import" in names:
        add("import", starting.importing())
    if set(names) & set(OF_SERVER):
        with endpoint.served() as url:
            for name, contest in OF_SERVER.items():
                if name in names:
                    add(name, contest(url))
    if set(names) & set(LOCAL):
        from chat_sides import local

        tiny = local.Tiny.made()
        contests = {"batch": local.batching, "ainvoke": local.calling, "first-token": local.first_token}
        for name, of_tiny in contests.items():
            if name in names:
                add(name, of_tiny(tiny))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--shape", choices=("8b", "tiny"), default="8b", help="of the model for --gpu")
    asked = parser.parse_args()
    if asked.gpu:
        from chat_sides.gpu import measured as on_gpu

        rows = on_gpu(asked.shape, asked.rounds)
    else:
        rows = measured(asked.only, asked.rounds)
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    before = None
    for row in rows:
        if row["what"] != before:
            print(f"\n{row['what']}")
            before = row["what"]
        print(show(row))
    print(f"\nPython {sys.version.split()[0]}; {_versions()}")


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in (
        "langchain-core",
        "langchain-huggingface",
        "langchain-openai",
        "httpx",
        "torch",
        "transformers",
    ):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


if __name__ == "__main__":
    main()
