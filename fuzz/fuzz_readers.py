"""Feed damaged files to the readers of dialogues, guided by coverage (atheris), for a given time.

    python fuzz/fuzz_readers.py --seconds 600

A run fails on anything but dialogues, problems and this package's own errors, on an error that quotes the
input, on a text that UTF-8 cannot hold, on a normal form that is not one, and on an input that takes longer
than ten seconds. Inputs that fail are kept in the folder of the findings; the last lines say how many inputs
were tried.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["chatdoctor_hub"]):
    from chatdoctor_hub.corpus.cleaning.normalize import normalize, normalize_text
    from chatdoctor_hub.corpus.reading import RecordProblem, SourceConfig, stream_dialogues
    from chatdoctor_hub.errors import DataError

GOOD = b'{"input": "a", "output": "b"}'
SEEDS = (
    b"[" + GOOD + b", " + GOOD + b"]",
    GOOD + b"\n" + GOOD + b"\n",
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b Patient: c"}]}',
    b'{"1": {"self_report": "a", "dialogue": [{"speaker": "x", "sentence": "y"}]}, "2": {}}',
    b'[["patient: a", "doctor: b"], [{"id": "Patients", "Sentence": "x"}]]',
    b'{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "id": NaN}',
    'input,target\n"病人：a\\n医生：","b ""c"""\n'.encode(),
    b"question\tanswer\r\na\tb\r\n",
    b'{"prompt": "a", "completion": "<p>b</p>&nbsp;\\u200b\\ud83d"}',
    b"\xef\xbb\xbf" + GOOD,
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    b"PAR1\x15\x04\x15PAR1",
)
SETTINGS = ({}, {"adapter": "icliniq"}, {"weight": 1.5, "limit": 3}, {"adapter": "meddg"})


def parquet_seed() -> bytes:
    """A small sound Parquet file, or nothing where pyarrow is not installed."""
    with contextlib.suppress(ImportError):
        import io

        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(pa.table({"input": ["a", "b"], "output": ["c", "d"]}), sink, compression="none")
        return sink.getvalue()
    return b""


class Harness:
    """Runs one input after the other through the readers."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "input"
        self.runs = 0

    def __call__(self, data: bytes) -> None:
        """Read an input and normalise what comes of it; the first byte chooses the settings."""
        self.runs += 1
        self._file.write_bytes(data[1:])
        settings = SETTINGS[data[0] % len(SETTINGS)] if data else {}
        try:
            for item in stream_dialogues(SourceConfig(path=str(self._file), **settings)):
                if isinstance(item, RecordProblem):
                    check(
                        item.record >= 1 and bool(item.reason) and "\n" not in item.reason,
                        "a problem's words",
                    )
                    continue
                json.dumps(item.to_messages(), ensure_ascii=False).encode()
                check(bool(item.doctor_turns and item.patient_turns), "a side is missing")
                normalize(item)
        except DataError as error:
            check(str(error).startswith("Expected ") and "\n" not in str(error), "an error's words")
        text = data[:2000].decode("utf-8", "surrogateescape")
        once, _ = normalize_text(text)
        check(normalize_text(once) == (once, frozenset()), "the normal form has another one")


def check(holds: bool, what: str) -> None:
    """Fail with what does not hold."""
    if not holds:
        raise AssertionError(what)


def main() -> None:
    """Fuzz, or run one input again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=600, help="how long to try (600)")
    parser.add_argument(
        "--findings", type=Path, default=Path("fuzz/findings"), help="folder for inputs that fail"
    )
    parser.add_argument("--input", type=Path, help="run this one input and stop")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        harness = Harness(Path(scratch))
        if args.input:
            harness(args.input.read_bytes())
            print(f"{args.input}: no fault")
            return
        corpus = Path(scratch) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate((*SEEDS, parquet_seed())):
            for kind in range(len(SETTINGS)):
                (corpus / f"{number}-{kind}").write_bytes(bytes([kind]) + seed)
        args.findings.mkdir(parents=True, exist_ok=True)
        options = [
            f"-max_total_time={args.seconds}",
            f"-artifact_prefix={args.findings}/",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=4096",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, str(corpus)], harness)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
