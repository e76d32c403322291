"""From files, folders and corpora to samples: formats, splits, counts, and what is refused."""

from __future__ import annotations

import csv
import gc
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from template_styles import make_tokenizer

from chatdoctor_hub.corpus import Corpus, SourceConfig, split
from chatdoctor_hub.corpus.splits import opening_words
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError, ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import EncodedData, check_masks, encode, encode_data, encode_dialogue

PAIR = PromptPair.load("chatdoctor@1")
Make = Callable[..., EncodedData]
Write = Callable[..., Path]


def ids_of(data: EncodedData) -> set[tuple[int, ...]]:
    return {tuple(sample.ids) for sample in (*data.training, *data.validation)}


def expected(dialogues: list[Dialogue], tokenizer: Any) -> set[tuple[int, ...]]:
    return {tuple(encode_dialogue(dialogue, PAIR, tokenizer).ids) for dialogue in dialogues}


def _json(path: Path, records: list[Any]) -> Path:
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def _lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def _csv(path: Path, records: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(records[0]))
        table.writeheader()
        table.writerows(records)
    return path


def _parquet(path: Path, records: list[Any]) -> Path:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(records), path)
    return path


FORMATS: dict[str, Callable[[Path, list[tuple[str, str]]], Path]] = {
    "messages, JSON Lines": lambda folder, pairs: _lines(
        folder / "a.jsonl",
        [
            {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
            for q, a in pairs
        ],
    ),
    "Alpaca, JSON": lambda folder, pairs: _json(
        folder / "a.json", [{"instruction": q, "input": "", "output": a} for q, a in pairs]
    ),
    "ShareGPT, JSON": lambda folder, pairs: _json(
        folder / "a.json",
        [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in pairs],
    ),
    "prompt and completion, JSON Lines": lambda folder, pairs: _lines(
        folder / "a.jsonl", [{"prompt": q, "completion": a} for q, a in pairs]
    ),
    "BianQue, CSV": lambda folder, pairs: _csv(
        folder / "a.csv",
        [{"input": f"病人：{q}\\n医生：", "target": a, "answer_choice": "", "type": ""} for q, a in pairs],
    ),
    "messages, Parquet": lambda folder, pairs: _parquet(
        folder / "a.parquet",
        [
            {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
            for q, a in pairs
        ],
    ),
    "Alpaca, CSV": lambda folder, pairs: _csv(
        folder / "a.csv", [{"instruction": "", "input": q, "output": a} for q, a in pairs]
    ),
}


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_gives_the_same_ids(
    form: str, dialogues: list[Dialogue], tmp_path: Path, encoded: Make, tokenizer: Any
) -> None:
    single = [item for item in dialogues if len(item.turns) == 2]
    file = FORMATS[form](tmp_path, [(item.turns[0].content, item.turns[1].content) for item in single])
    data = encoded(file)
    assert ids_of(data) == expected(single, tokenizer)
    assert (data.report.read, data.report.training + data.report.validation) == (len(single), len(single))


def test_samples_are_those_of_encode(
    dialogues: list[Dialogue], written: Write, encoded: Make, tokenizer: Any
) -> None:
    data = encoded(written("a.jsonl", dialogues), validation_share=0)
    plain = encode(dialogues, PAIR, tokenizer, 512)
    assert list(data.training) == list(plain.samples)
    assert data.training.tokens == plain.tokens == data.report.tokens
    assert data.training.labelled_tokens == plain.labelled_tokens == data.report.labelled_tokens
    assert data.training.lengths.tolist() == [len(sample) for sample in plain.samples]
    assert data.training.learned.tolist() == [sum(sample.labelled) for sample in plain.samples]
    assert len(data.validation) == data.report.validation == 0
    assert data.training.record(2) == "record 3 of a.jsonl"
    check_masks(data.training, tokenizer)


@pytest.mark.parametrize("loss_on", ["doctor", "last", "all"])
def test_what_is_learned_is_as_the_recipe_says(
    loss_on: Any, dialogues: list[Dialogue], written: Write, encoded: Make, tokenizer: Any
) -> None:
    data = encoded(written("a.jsonl", dialogues), validation_share=0, loss_on=loss_on)
    assert list(data.training) == list(encode(dialogues, PAIR, tokenizer, 512, loss_on).samples)
    check_masks(data.training, tokenizer)


def test_a_corpus_folder_gives_its_own_splits(
    dialogues: list[Dialogue], tmp_path: Path, encoded: Make, tokenizer: Any
) -> None:
    splits = split(dialogues, validation=0.2, test=0.2)
    Corpus.write(tmp_path / "corpus", splits, seed=0, sources=["made"], repairs={}, problems=())
    data = encoded(tmp_path / "corpus")
    assert [tuple(item.ids) for item in data.training] == [
        encode_dialogue(dialogue, PAIR, tokenizer).ids for dialogue in splits.train
    ]
    assert {tuple(item.ids) for item in data.validation} == expected(list(splits.validation), tokenizer)
    everything = encoded({"path": str(tmp_path / "corpus"), "split": "all"}, validation_share=0)
    assert len(everything.training) == len(dialogues)
    test = encoded({"path": str(tmp_path / "corpus"), "split": "test"}, validation=str(tmp_path / "corpus"))
    assert (test.report.training, test.report.validation) == (len(splits.test), len(splits.validation))


def test_validation_never_shares_opening_words_whatever_the_order(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make, tokenizer: Any
) -> None:
    again = [say(item.turns[0].content.upper(), "Another answer.") for item in dialogues]
    everything = [*dialogues, *again]
    homes = []
    for seed in (1, 2):
        random.Random(seed).shuffle(everything)
        data = encoded(written("a.jsonl", everything), validation_share=0.3)
        shares = {
            name: {tuple(sample.ids) for sample in samples}
            for name, samples in (("training", data.training), ("validation", data.validation))
        }
        openings = {
            name: {
                opening_words(item)
                for item in everything
                if encode_dialogue(item, PAIR, tokenizer).ids in ids
            }
            for name, ids in shares.items()
        }
        assert not openings["training"] & openings["validation"]
        assert len(data.training) + len(data.validation) == len(everything)
        homes.append(shares)
    assert homes[0] == homes[1]
    assert 5 < len(homes[0]["validation"]) < 60


@pytest.mark.parametrize("number", [2, 3, 8])
@pytest.mark.parametrize("share", [0.001, 0.99])
def test_few_dialogues_still_give_both_splits(
    number: int, share: float, dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    data = encoded(written("a.jsonl", dialogues[:number]), validation_share=share)
    assert len(data.training) + len(data.validation) == number == data.report.read
    assert len(data.training)
    assert len(data.validation)


def test_one_dialogue_is_tuned_on(dialogues: list[Dialogue], written: Write, encoded: Make) -> None:
    data = encoded(written("a.jsonl", dialogues[:1]))
    assert (len(data.training), len(data.validation)) == (1, 0)


def test_named_validation_dialogues_are_not_trained_on(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make
) -> None:
    held = written("held.jsonl", dialogues[:5])
    like = say(dialogues[0].turns[0].content.upper(), "Another answer.")
    data = encoded(written("a.jsonl", [*dialogues, like]), validation=str(held))
    assert (data.report.training, data.report.validation) == (len(dialogues) - 5, 5)
    assert data.report.skipped == {"exact duplicate": 5, "its first words are validated with": 1}
    assert data.report.records["its first words are validated with"] == ("49 of a.jsonl",)


def test_a_folder_with_a_validation_file_validates_with_it(
    dialogues: list[Dialogue], tmp_path: Path, written: Write, encoded: Make
) -> None:
    (tmp_path / "set").mkdir()
    written("set/train.jsonl", dialogues[:30])
    written("set/validation.jsonl", dialogues[30:])
    data = encoded(tmp_path / "set", validation=str(tmp_path / "set"))
    assert (data.report.training, data.report.validation) == (30, 18)


def test_weights_repeat_and_thin_out(dialogues: list[Dialogue], written: Write, encoded: Make) -> None:
    first, second = written("a.jsonl", dialogues[:24]), written("b.jsonl", dialogues[24:])
    sources = [SourceConfig(path=first, weight=2.0), SourceConfig(path=second, weight=0.5)]
    data = encoded(sources, validation_share=0)
    kept = len(data.training) - 48
    assert 4 < kept < 20
    assert data.report.skipped == {"left out by the weight of its source": 24 - kept}
    assert {data.training.record(index).split(" of ")[1] for index in range(len(data.training))} == {
        "a.jsonl",
        "b.jsonl",
    }
    divided = encoded(sources, validation_share=0.3)
    assert len({tuple(sample.ids) for sample in divided.validation}) == len(divided.validation)
    assert len({tuple(sample.ids) for sample in divided.training}) < len(divided.training)


def test_a_limit_takes_the_first(
    dialogues: list[Dialogue], written: Write, encoded: Make, tokenizer: Any
) -> None:
    file = written("a.jsonl", dialogues)
    data = encoded(SourceConfig(path=file, limit=5, weight=2.0), validation_share=0)
    assert ids_of(data) == expected(dialogues[:3], tokenizer)
    assert len(data.training) == 5


def test_duplicates_of_all_sources_are_used_once(
    dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    files = [written("a.jsonl", dialogues), written("b.jsonl", [*dialogues[:7], dialogues[0]])]
    data = encoded(files, validation_share=0)
    assert data.report.training == len(dialogues)
    assert data.report.skipped == {"exact duplicate": 8}
    assert data.report.sources == ("a.jsonl", "b.jsonl")


def test_everything_left_out_is_counted_and_named(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make, tokenizer: Any
) -> None:
    longer = say(*(turn.content for item in dialogues[:4] for turn in item.turns[:2]))
    endless = say("My head hurts.", "Rest well. " * 500)
    file = written("a.jsonl", [*dialogues, longer, endless])
    with file.open("a", encoding="utf-8") as opened:
        opened.write('{"messages": [{"role": "user", "content": "Nobody answers."}]}\n{"broken": \n')
    limit = max(len(sample) for sample in encode(dialogues, PAIR, tokenizer, 2000).samples)
    report = encoded(file, max_length=limit, validation_share=0).report
    assert (report.read, report.training, report.shortened) == (52, 49, 1)
    reason = f"its last exchange alone is longer than {limit} tokens"
    assert report.skipped == {reason: 1}
    assert sum(report.problems.values()) == 2
    assert report.records["shortened"] == ("49",)
    assert report.records[reason] == ("50",)
    assert {name for kind in report.problems for name in report.records[kind]} == {"51", "52"}
    assert "Nobody" not in json.dumps(report.to_record())


def test_a_record_that_the_template_refuses_costs_itself_alone(
    dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    strict = (
        "{% for message in messages %}{% if message['role'] != 'system' and (message['role'] == 'user') != "
        "(loop.index0 % 2 == 1) %}{{ raise_exception('roles must alternate') }}{% endif %}{{ '<|im_start|>' + "
        "message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    )
    words = make_tokenizer("chatml", chat_template=strict)
    odd = Dialogue.from_messages(
        [
            {"role": role, "content": text}
            for role, text in (("user", "One."), ("user", "Two."), ("assistant", "No."))
        ]
    )
    report = encoded(written("a.jsonl", [*dialogues, odd]), tokenizer=words, validation_share=0).report
    assert (report.training, list(report.skipped.values())) == (48, [1])
    with pytest.raises(ModelFormatError, match=r"alternating|refused"):
        encoded(written("odd.jsonl", [odd]), tokenizer=words)


def test_progress_is_told(dialogues: list[Dialogue], written: Write, encoded: Make, tmp_path: Path) -> None:
    for _ in range(2):  # the second time from the cache
        told: list[int] = []
        encoded(written("a.jsonl", dialogues), on_progress=told.append, cache=tmp_path / "cache")
        assert told[-1] == 48
        assert told == sorted(told)


def test_samples_read_one_by_one_in_slices_and_from_the_end(
    dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    samples = encoded(written("a.jsonl", dialogues), validation_share=0).training
    listed = list(samples)
    assert samples[-1] == listed[47]
    assert list(samples[3:9:2]) == listed[3:9:2]
    assert len(samples[0].ids) == len(samples[0]) == len(samples[0].labelled)
    with pytest.raises(IndexError):
        _ = samples[48]


def test_without_a_cache_the_files_go_with_the_samples(
    dialogues: list[Dialogue], written: Write, encoded: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data: EncodedData | None = encoded(written("a.jsonl", dialogues))
    assert data is not None
    kept = data.training
    assert len(list(tmp_path.glob("chatdoctor-data-*"))) == 1
    del data
    gc.collect()
    assert kept[0] == kept[0]
    assert len(list(tmp_path.glob("chatdoctor-data-*"))) == 1
    del kept
    gc.collect()
    assert list(tmp_path.glob("chatdoctor-data-*")) == []
    with pytest.raises(DataFormatError):
        encoded(written("b.jsonl", dialogues), max_length=8)
    assert list(tmp_path.glob("chatdoctor-data-*")) == []


def test_nothing_to_tune_on_is_an_error_that_says_why(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make, tmp_path: Path
) -> None:
    with pytest.raises(DataFormatError, match="doctor turn"):
        encoded(written("silent.jsonl", [say("Nobody answers.")]))
    with pytest.raises(DataFormatError, match="an empty file"):
        encoded(written("empty.jsonl", []))
    with pytest.raises(DataFormatError, match="longer than 9 tokens: 48"):
        encoded(written("a.jsonl", dialogues), max_length=9)
    with pytest.raises(DataNotFoundError):
        encoded(tmp_path / "nowhere.jsonl")
    good = written("good.jsonl", dialogues)
    with pytest.raises(DataFormatError, match=r"validate with in .*silent"):
        encoded(good, validation=str(written("silent.jsonl", [say("Hm.", "Rest well. " * 600)])))


def test_an_empty_training_split_of_a_corpus_is_an_error(
    dialogues: list[Dialogue], tmp_path: Path, encoded: Make
) -> None:
    splits = split(dialogues, validation=0.2, test=0)
    Corpus.write(tmp_path / "corpus", splits, seed=0, sources=["made"], repairs={}, problems=())
    with pytest.raises(DataFormatError, match=r"tune on in .*corpus.*there was none"):
        encoded({"path": str(tmp_path / "corpus"), "split": "test"})
    with pytest.raises(DataFormatError, match="train, validation, test"):
        encoded({"path": str(tmp_path / "corpus"), "split": "training"})


def test_a_base_without_a_chat_template_or_an_end_is_refused(
    dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    from transformers import ByT5Tokenizer

    file = written("a.jsonl", [item for item in dialogues if len(item.turns) == 2])
    bare = PromptPair(id="bare@1", instruction="Help.", safety="", layout="")
    with pytest.raises(ModelFormatError, match=r"chat template for prompt bare@1"):
        encoded(file, pair=bare, tokenizer=make_tokenizer("layout"))
    with pytest.raises(ModelFormatError, match=r"record 1: expected a special end-of-turn token"):
        encoded(file, tokenizer=make_tokenizer("layout", eos_token=None))
    with pytest.raises(ModelFormatError, match="fast tokenizer"):
        encoded(file, tokenizer=ByT5Tokenizer())


def test_published_dialogues(shared_data: Path, config: Callable[..., Any], tokenizer: Any) -> None:
    recipe = config(
        shared_data / "chatdoctor" / "genmedgpt_4000.json", max_length=4000, validation_share=0.05
    )
    data = encode_data(recipe, PAIR, tokenizer)
    report = data.report
    assert report.read == 4000
    assert (
        report.training + report.validation + sum(report.skipped.values()) + sum(report.problems.values())
        == 4000
    )
    assert report.training > 3600
    assert 120 < report.validation < 280
    check_masks(data.training, tokenizer)
    check_masks(data.validation, tokenizer)
