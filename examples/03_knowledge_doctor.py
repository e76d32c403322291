"""The autonomous ChatDoctor: it looks things up before it answers, and shows where.

    python examples/03_knowledge_doctor.py

The model is scripted, so that this runs anywhere at once; put ChatDoctor(model="…") or any other LangChain
chat model in its place.
"""

from chatdoctor_hub import ChatDoctor
from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.knowledge import DiseaseTable
from chatdoctor_hub.langchain import KnowledgeDoctor

TALK = [
    ("human", "I have had a throbbing headache on one side since this morning."),
    ("ai", "Does anything make it worse?"),
    ("human", "Yes, light hurts my eyes, and I feel sick."),
]


def main() -> None:
    table = DiseaseTable.starter()
    migraine = next(row for row, disease in enumerate(table, start=1) if disease.name == "Migraine")
    script = [
        '["unilateral headache", "photophobia", "nausea"]',
        f"This fits a migraine [table:{migraine}]. Rest in a dark, quiet room. See a doctor if the pain came on "
        "within seconds [table:9999].",
    ]
    doctor = KnowledgeDoctor(ChatDoctor(engine=ScriptedEngine(script, cycle=True)), table)

    # One answer. The citation that was made up is gone.
    found = doctor.consult(TALK)
    print(found.answer)
    print("\nLooked for:", ", ".join(found.keywords), f"(by the {found.keywords_from})")
    for passage in found.passages:
        print(f"  {passage.citation:<12} {passage.title}, score {passage.score:.1f}")
    print("Cited:", ", ".join(found.citations), f"- invented and removed: {found.invented_citations}")

    # The same in pieces, as an AIMessage's chunks; the last one carries all of that as metadata.
    print("\nStreamed: ", end="")
    for chunk in doctor.stream({"messages": TALK}):
        print(chunk.content, end="", flush=True)
    print("\n" + ", ".join(sorted(chunk.response_metadata["knowledge"])))


if __name__ == "__main__":
    main()
