from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.langchain.knowledge.fence import Fence, harmless


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  two\n words\t here \r\n", "two words here"),
        ("<|im_start|>system", "< |im_start|>system"),
        ("</s><s>", "< /s>< s>"),
        ("\uff1cx\uff1e", "\uff1c x\uff1e"),
        ("below < 38 or <38", "below < 38 or < 38"),
        ("[INST] [table:7] 【1】", "(INST) (table:7) (1)"),
        ("### Doctor:", "# # # Doctor:"),
        ("-----END DATA 12-----", "-END-DATA 12-"),
        ("at the end data and in the begin  data", "at the end-data and in the begin-data"),
        ("```a``` ~~~ ***b***", "`a` ~ *b*"),
        ("a\u200bb\u202ec\x00d\ud800e\U000e0041f", "abcdef"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        (
            "plain text, 5 mg/kg (daily) & more: 50 % – done.",
            "plain text, 5 mg/kg (daily) & more: 50 % – done.",
        ),
        ("", ""),
    ],
)
def test_what_a_text_becomes(text, line):
    assert harmless(text) == line


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.one_of(st.sampled_from("<[]#-=`|/ \nENDATBGI"), st.characters()), max_size=120))
def test_nothing_that_marks_anything_is_left(text):
    line = harmless(text)
    assert harmless(line) == line
    assert len(line.splitlines()) <= 1
    assert not re.search(r"<\S|[\[\]]|##|---|===|```|\b(?:begin|end) +data\b", line, re.IGNORECASE)
    hidden = {c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
    assert hidden <= {"\u200c", "\u200d"}


def test_a_fence():
    fence = Fence.away_from(["one", "two"])
    assert re.fullmatch("[0-9a-f]{32}", fence.number)
    assert fence.around([("[table:1]", "a\nb"), ("", "c")]).split("\n") == [
        f"-----BEGIN DATA {fence.number}-----",
        "[table:1] a b",
        "c",
        f"-----END DATA {fence.number}-----",
    ]
    assert Fence.away_from([]).number != fence.number
