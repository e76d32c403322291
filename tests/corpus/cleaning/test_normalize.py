"""What is put right in a text, what medicine needs as it is, and that twice is once."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.cleaning.normalize import _SUSPECT, _is_plain, normalize, normalize_text
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import MissingExtraError

KINDS = {
    "surrogates",
    "html",
    "escaped_white_space",
    "mojibake",
    "control_characters",
    "invisible_characters",
    "unicode_form",
    "white_space",
}


@pytest.mark.parametrize(
    ("text", "expected", "kinds"),
    [
        ("It  hurts \t here ", "It hurts here", {"white_space"}),
        ("a\r\n\r\n\r\nb \n c\u2028d", "a\n\nb\nc\nd", {"white_space"}),
        ("\u3000牙疼\u3000\u3000很久", "牙疼 很久", {"white_space"}),
        ("Itâ€™s bad", "It’s bad", {"mojibake"}),
        ("what do I need?Â\xa0", "what do I need?", {"mojibake", "white_space"}),
        ("what do I need?Â", "what do I need?", {"mojibake"}),
        ("5 Âµg and Â½ tablet", "5 µg and ½ tablet", {"mojibake"}),
        ("\x93quoted\x94", "“quoted”", {"mojibake"}),
        (r"It hurts.\nSince Monday.", "It hurts.\nSince Monday.", {"escaped_white_space"}),
        (r"病人：疼。\n医生：多久？", "病人：疼。\n医生：多久？", {"escaped_white_space"}),
        (r"temp\t38", "temp 38", {"escaped_white_space", "white_space"}),
        ("It<br/>hurts <b>badly</b>", "It\nhurts badly", {"html"}),
        ("<p>One</p><p>Two</p>", "One\n\nTwo", {"html", "white_space"}),
        ("5&nbsp;mg &lt; 6 mg &amp; more", "5 mg < 6 mg & more", {"html", "white_space"}),
        ("10<sup>9</sup>/L of H<sub>2</sub>O", "10^9/L of H2O", {"html"}),
        ("take <del>5</del> 10 mg", "take 10 mg", {"html", "white_space"}),
        ("a<script>secret()</script>b<!-- c -->", "a b", {"html", "white_space"}),
        ("a\x00b\x07c\x1b[31md", "abcd", {"control_characters"}),
        ("a\u200bb\u202ec\ufeffd\u00ade", "abcde", {"invisible_characters"}),
        ("cafe\u0301", "café", {"unicode_form"}),
        ("\ud83d\ude00 and \ud83d", "\U0001f600 and", {"surrogates", "white_space"}),
        ("\u200b", "", {"invisible_characters"}),
        ("", "", set()),
    ],
)
def test_what_is_put_right(text: str, expected: str, kinds: set[str]) -> None:
    assert normalize_text(text) == (expected, kinds)


@pytest.mark.parametrize(
    "text",
    [
        "≥ 38 °C, ≤ 5 µg, ½ tablet, 10⁹/L, CO₂, ± 2 %, 3 ‰, Ω, β-blocker, № 5, ™",
        "take <5 mg, temp <38 & rising, p<0.05, a<b>c? no",
        "if a <b> c then AT&T; R&D;",
        "你好，世界：（是）“测试”！；、—…《》",
        "Ménière's, naïve, Sjögren, 37,5 °C, été à 5 µg, Ångström, İstanbul, straße",
        "It’s “quoted” – and … so on",
        r"C:\new\table and \\server\temp",
        r"$\frac{1}{2}$, \nu, \theta and \neq",
        r"use \d+ or printf(\"%d\n\")",
        "```\nprint('\\n')\n```",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 and \u2764\ufe0f",
        "می\u200cخواهم",
        "One.\n\nTwo.\nThree.",
        "1 < 2 and 3 > 2",
        "mail me at a@b.org <3",
    ],
)
def test_what_stays(text: str) -> None:
    assert normalize_text(text) == (text, set())


PIECES = st.lists(
    st.sampled_from(
        [
            "\\n",
            "\\",
            "\\t",
            "&amp;",
            "&lt;",
            "br",
            "<br>",
            "<b>",
            "</b>",
            "<s>",
            "</s>",
            "<sup>",
            "2",
            "</sup>",
            "&#8203;",
            "&#x5c;",
            "n",
            "Â",
            "\xa0",
            "â€™",
            "\u200d",
            "é",
            "e\u0301",
            "\ud83d",
            "\ude00",
            "\r",
            "\x85",
            "\x1b[0m",
            "\x1b",
            "[0m",
            "<!--",
            "-->",
            "&",
            ";",
            "$",
            "C:",
            " ",
            "\n",
            "，",
            "\u0345",
        ]
    )
    | st.text(st.characters(), max_size=4),
    max_size=12,
).map("".join)


@settings(deadline=None, max_examples=400)
@given(PIECES)
@example("&amp;amp;amp;lt;br&amp;gt;")
@example("ÃƒÆ’Ã‚Â©")
def test_twice_is_once(text: str) -> None:
    once, kinds = normalize_text(text)
    assert normalize_text(once) == (once, set())
    assert kinds <= KINDS
    assert (once == text) == (not kinds) or once == text
    once.encode()
    assert once == once.strip()
    assert unicodedata.is_normalized("NFC", once)
    assert "\x00" not in once


def test_the_work_does_not_explode() -> None:
    start = time.perf_counter()
    for unit in (
        "<s>",
        "<sup>1",
        "<!--",
        "&amp;",
        "\\n",
        "<b ",
        "$\\",
        "Â ",
        "\x1b[",
        "<script>a",
        "\u200d",
        "[0;",
    ):
        normalize_text(unit * (100_000 // len(unit)))
    assert time.perf_counter() - start < 10


def test_short_clean_texts_are_fast() -> None:
    texts = [f"I have had a fever of {n} for three days, what should I do about it?" for n in range(5000)]
    start = time.process_time()
    for text in texts:
        normalize_text(text)
    assert 5000 / (time.process_time() - start) > 30_000


def test_a_dialogue_that_is_clean_is_the_same_object() -> None:
    clean = Dialogue((Turn("patient", "It hurts."), Turn("doctor", "Rest.")), id="7", topic="burn")
    assert normalize(clean)[0] is clean
    assert normalize(clean)[1] == set()


def test_a_dialogue_keeps_what_it_is() -> None:
    found, kinds = normalize(
        Dialogue(
            (
                Turn("system", "Be  kind."),
                Turn("patient", "It<br>hurts."),
                Turn("patient", "\u200b"),
                Turn("doctor", "Rest."),
            ),
            id="7",
            source="a.json",
            topic="sun  burn",
        )
    )
    assert found == Dialogue(
        (Turn("system", "Be kind."), Turn("patient", "It\nhurts."), Turn("doctor", "Rest.")),
        id="7",
        source="a.json",
        topic="sun burn",
    )
    assert kinds == {"white_space", "html", "invisible_characters", "empty_turns"}


def test_a_dialogue_of_which_nothing_is_left() -> None:
    for role in ("patient", "doctor"):
        turns = [Turn(name, "\u200b" if name == role else "word") for name in ("patient", "doctor")]  # type: ignore[arg-type]
        found, kinds = normalize(Dialogue(tuple(turns)))
        assert found is None
        assert "empty_turns" in kinds


def test_ascii_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    assert normalize_text("a  <br> b") == ("a\nb", {"html", "white_space"})
    with pytest.raises(MissingExtraError, match=r"pip install 'chatdoctor-hub\[corpus\]'"):
        normalize_text("Itâ€™s")


def test_the_published_dialogues(shared_data: object) -> None:
    from pathlib import Path

    from chatdoctor_hub.corpus.reading import read_dialogues

    counts: dict[str, int] = {}
    changed = set()
    assert isinstance(shared_data, Path)
    for dialogue in read_dialogues(shared_data / "chatdoctor" / "genmedgpt_4000.json"):
        found, kinds = normalize(dialogue)
        assert found is not None
        for kind in kinds:
            counts[kind] = counts.get(kind, 0) + 1
            changed.add(int(dialogue.id))
    assert counts == {"mojibake": 7, "white_space": 1}
    assert {27, 297, 415, 417, 448, 492, 537} <= changed


@given(st.text(st.sampled_from("ab <&\\\n.\t"), max_size=12) | st.text(max_size=12))
def test_the_quick_look_is_never_wrong(text: str) -> None:
    if _is_plain(text):
        assert not _SUSPECT.search(text)
