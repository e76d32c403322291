"""How long `import chatdoctor_hub` takes over bare Python: medians of interleaved fresh interpreters.

python bench/import_time.py [--runs 21] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

CASES = {
    "bare python": "pass",
    "import chatdoctor_hub": "import chatdoctor_hub",
    "from chatdoctor_hub import Dialogue": "from chatdoctor_hub import Dialogue",
    "langchain_core BaseChatModel": "from langchain_core.language_models import BaseChatModel",
    "from chatdoctor_hub import ChatDoctor": "from chatdoctor_hub import ChatDoctor",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(asked.runs):
        for name, code in CASES.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append(1000 * (time.perf_counter() - start))
    bare = statistics.median(times["bare python"])
    rows = [
        {
            "name": name,
            "value": round(statistics.median(took), 1),
            "unit": "ms",
            "over_bare_python": round(statistics.median(took) - bare, 1),
        }
        for name, took in times.items()
    ]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['name']:40} {row['value']:8.1f} ms   {row['over_bare_python']:+8.1f} ms over bare Python"
        )


if __name__ == "__main__":
    main()
