"""From a disease table to training data, offline: dialogues, a corpus folder, chain-of-questioning samples.

    python examples/02_corpus.py [FOLDER]

The command line has the same steps: `chatdoctor corpus synthesize`, `build` and `coq`.
"""

import sys
from pathlib import Path

from chatdoctor_hub.corpus.building.build import build_corpus
from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.corpus.writing import coq, synthesize, write_messages
from chatdoctor_hub.knowledge import DiseaseTable


def main(out: Path) -> None:
    # Grammars write the dialogues here. With teacher=<any LangChain chat model> the teacher does, every
    # answer is checked against its row, and journal=<file> lets a stopped run go on.
    table = DiseaseTable.starter()
    written = out / "written.jsonl"
    write_messages(written, synthesize(table, n=400, multi_turn=0.6))

    # Cleaned, compared with one another and divided; nobody's words are in it, so there is nobody to hide.
    config = CorpusConfig(
        sources=[str(written)], out=str(out / "corpus"), licence="Apache-2.0", deidentify=False
    )
    corpus = build_corpus(config)
    print(f"{corpus.path}: {corpus.info['dialogues']}")

    # Every turn of the doctor becomes a target; 46 % of the targets ask, as in BianQue's corpus. This comes
    # last: samples of one dialogue are near-duplicates of each other, which a build would leave out.
    for name in ("train", "validation", "test"):
        samples = coq(corpus.stream(name), target_questions=0.46)
        write_messages(out / f"coq_{name}.jsonl", samples.dialogues)
        print(
            f"{name}: {len(samples)} samples, {samples.counts}, {100 * (samples.share or 0):.1f} % questions"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/corpus"))
