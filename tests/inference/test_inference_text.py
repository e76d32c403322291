from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.inference.text import Detokenizer, StopFinder


def decode_with(tokenizer):
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def pieces_of(tokenizer, ids):
    detokenizer = Detokenizer(decode_with(tokenizer))
    return [*(detokenizer.push(token) for token in ids), detokenizer.flush()]


@given(st.text(max_size=60))
def test_text_comes_back_whole(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert "".join(pieces_of(tokenizer, ids)) == decode_with(tokenizer)(ids)


@given(st.text(alphabet="aé頭😷 \u00fc", max_size=30))
def test_no_half_characters_on_the_way(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert "\ufffd" not in "".join(pieces_of(tokenizer, ids))
    assert "".join(pieces_of(tokenizer, ids)) == text


@given(st.lists(st.integers(7, 419), max_size=40))
def test_any_tokens_whatever_they_decode_to(tokenizer, ids):
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == decode_with(tokenizer)(ids)


def test_special_tokens_leave_no_text(tokenizer):
    ids = tokenizer("<|user|>Rest.<|end|> Drink.", add_special_tokens=False)["input_ids"]
    assert "".join(pieces_of(tokenizer, ids)) == "Rest. Drink."


def test_leading_spaces_of_a_sentencepiece_vocabulary_survive():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ["▁I", "▁rest", "▁and", "▁drink", "ing", "."]
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="."))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    detokenizer = Detokenizer(lambda ids: inner.decode(list(ids)))
    pieces = [detokenizer.push(token) for token in (0, 1, 2, 3, 4, 5)]
    assert pieces == ["I", " rest", " and", " drink", "ing", "."]


def feed(stops, pieces):
    finder = StopFinder(stops)
    text = "".join(finder.feed(piece) for piece in pieces)
    return text + finder.flush(), finder.found


@pytest.mark.parametrize(
    ("stops", "pieces", "text", "found"),
    [
        (("END",), ["Rest. E", "N", "D more"], "Rest. ", True),
        (("END",), ["Rest. EN"], "Rest. EN", False),
        (("END",), ["EEND"], "E", True),
        (("\n\nPatient:",), ["Rest.\n", "\nPat", "ient: I"], "Rest.", True),
        (("aab",), list("aaab"), "a", True),
        (("abcd", "bc"), ["abcd"], "a", True),
        (("b", "ab"), ["ab"], "", True),
        ((), ["as it is"], "as it is", False),
    ],
)
def test_stop_strings(stops, pieces, text, found):
    assert feed(stops, pieces) == (text, found)


def test_only_a_possible_beginning_is_kept_back():
    finder = StopFinder(("END",))
    assert finder.feed("Rest. E") == "Rest. "
    assert finder.feed("at well.") == "Eat well."


def test_nothing_follows_a_stop_string():
    finder = StopFinder(("END",))
    assert finder.feed("Rest.END") == "Rest."
    assert finder.feed("more") == finder.flush() == ""


@given(
    st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3),
    st.lists(st.text(alphabet="abc", max_size=4), max_size=8),
)
def test_the_cut_does_not_depend_on_the_pieces(stops, pieces):
    text = "".join(pieces)
    assert feed(stops, pieces) == feed(stops, [text]) == feed(stops, list(text))
    shown, found = feed(stops, pieces)
    assert found == any(stop in text for stop in stops)
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
