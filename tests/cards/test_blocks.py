"""Cards that people may edit: only the generated blocks are written anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.cards import header_of, human_text, keep_edits, parts_of


def block(name: str, text: str) -> str:
    return f"<!-- chatdoctor:begin {name} -->\n{text}\n<!-- chatdoctor:end {name} -->"


def card(*blocks: str, header: str = "license: mit", title: str = "a model") -> str:
    return f"---\n{header}\n---\n\n# {title}\n\n" + "\n\n".join(blocks) + "\n"


OLD = card(block("notice", "Old."), "## Intended use\n\nFor us.", block("figures", "1 of 3"))
NEW = card(block("notice", "New."), "## Intended use\n\nFor all.", block("figures", "2 of 3"))


def test_what_people_wrote_stays_and_blocks_are_new() -> None:
    edited = (
        OLD.replace("For us.", "For nurses in Kyiv.").replace("## Int", "A word first.\n\n## Int")
        + "\nThe end.\n"
    )
    made = keep_edits(NEW, edited, own=("license",))
    for kept in ("For nurses in Kyiv.", "A word first.", "\nThe end.\n", "New.", "2 of 3"):
        assert made.count(kept) == 1
    for gone in ("For all.", "Old.", "1 of 3"):
        assert gone not in made


def test_without_edits_it_is_the_fresh_card_but_for_what_people_may_write() -> None:
    assert keep_edits(NEW, NEW, own=("license",)) == NEW
    assert keep_edits(NEW, OLD, own=("license",)) == NEW.replace("For all.", "For us.")


def test_an_edit_within_a_block_is_written_over() -> None:
    assert "4 of 3" not in keep_edits(NEW, OLD.replace("1 of 3", "4 of 3"), own=())


def test_blocks_come_and_go_in_their_places() -> None:
    fresh = card(block("notice", "New."), block("added", "Added."), block("last", "Last."))
    made = keep_edits(fresh, OLD, own=())
    assert [part.block for part in parts_of(made) if part.block] == ["notice", "added", "last"]
    assert made.index("Added.") < made.index("For us.")
    first = card("## Mine\n\nText.", block("figures", "1"))
    made = keep_edits(NEW, first, own=())
    assert made.index("# a model") < made.index("New.") < made.index("## Mine")


def test_the_title_follows_the_name_unless_somebody_wrote_another() -> None:
    renamed = NEW.replace("# a model", "# another")
    assert "# another\n" in keep_edits(renamed, OLD, own=(), earlier_name="a model")
    own = OLD.replace("# a model", "# Our Model")
    assert "# Our Model\n" in keep_edits(renamed, own, own=(), earlier_name="a model")


def test_the_header_keeps_what_is_not_generated() -> None:
    old = OLD.replace(
        "license: mit", "license: gpl-3.0\nextra_gated_prompt: Say who you are.\ntags: [lora, mine]\nstale: 1"
    )
    new = NEW.replace("license: mit", "license: mit\ntags: [medical, series]")
    header = header_of(keep_edits(new, old, own=("license", "tags", "stale")))
    assert header == {
        "license": "mit",
        "tags": ["medical", "series", "mine"],
        "extra_gated_prompt": "Say who you are.",
    }


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (OLD.replace("<!-- chatdoctor:end notice -->", ""), "'begin figures' within the block 'notice'"),
        (OLD.replace("<!-- chatdoctor:begin notice -->", ""), r"'end notice' without its begin \(line 9\)"),
        (OLD.replace("<!-- chatdoctor:end figures -->", ""), "'begin figures' without its end"),
        (OLD + block("notice", "Twice."), "'begin notice' a second time"),
        (OLD.replace("license: mit", "license: [mit"), "a YAML header that cannot be read"),
        (OLD.replace("license: mit", "- mit"), "a YAML header that is no mapping"),
        ("# Mine alone\n", "without the marks"),
        ("", "without the marks"),
    ],
)
def test_broken_marks_are_told_with_their_line(broken: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        keep_edits(NEW, broken, own=())


def test_windows_line_ends() -> None:
    assert keep_edits(NEW, OLD.replace("\n", "\r\n"), own=("license",)) == NEW.replace("For all.", "For us.")


NAMES = st.lists(st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True), min_size=1, max_size=5, unique=True)
WORDS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="<\x85\u2028\u2029"), max_size=30
)


@given(NAMES, NAMES, st.lists(WORDS, min_size=6, max_size=6))
def test_every_word_outside_the_blocks_survives_any_new_set_of_blocks(
    before: list[str], after: list[str], words: list[str]
) -> None:
    old = card(
        *(f"{text}\n\n{block(name, 'old')}" for name, text in zip(before, words, strict=False)), words[-1]
    )
    new = card(*(block(name, "new") for name in after))
    made = keep_edits(new, old, own=())
    blocks = [part for part in parts_of(made) if part.block]
    assert sorted(part.block for part in blocks) == sorted(after)
    assert all("old" not in part.text for part in blocks)
    kept = "".join(part.text for part in human_text(old)).split()
    assert "".join(part.text for part in human_text(made)).split() == kept
    assert keep_edits(new, made, own=()) == made
