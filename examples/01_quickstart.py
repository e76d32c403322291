"""The main job from Python: table -> dialogues -> tuned model -> release -> chat, offline, on a CPU.

    python examples/01_quickstart.py [FOLDER]

The command line does the same: `chatdoctor quickstart --out FOLDER`.
"""

import sys
from pathlib import Path

from chatdoctor_hub import ChatDoctor
from chatdoctor_hub.quickstart import QuickstartSettings, quickstart
from chatdoctor_hub.release import load_manifest


def main(out: Path) -> None:
    release = quickstart(QuickstartSettings(out=out))

    manifest = load_manifest(release)
    print("\nPerplexity after tuning:", round(manifest.metrics["perplexity"]["after"]["perplexity"], 2))

    # One object, all of LangChain's ways of calling it; the safety prompt comes with the weights.
    llm = ChatDoctor(model=str(release), max_tokens=120)
    questions = ["I have a dry cough and a mild fever.", "My lower back hurts after lifting boxes."]
    for question, answer in zip(questions, llm.batch(questions), strict=True):
        print(f"\n{question}\n  {answer.content}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/quickstart"))
