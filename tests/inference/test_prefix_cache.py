"""What all prompts begin with, computed once."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import pytest
import tiny_causal_model

from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.inference.scheduling import Forwards, PrefixCache

torch = pytest.importorskip("torch")
KINDS = ("llama", *tiny_causal_model.OTHER_KINDS)
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look up a disease.",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}


@pytest.fixture
def fresh(model, tokenizer, monkeypatch):
    # Tools take more than the few tokens of this model's context, which it does not mind.
    monkeypatch.setattr(model.config, "max_position_embeddings", 1200)
    return LocalEngine.of(model, tokenizer)


def read(forwards, call):
    """The tokens of the prompts that were read for a call, (rows, columns) a pass."""
    forwards.clear()
    call()
    return [shape for shape in forwards if shape[1] > 1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_with_and_without(tokenizer, ask, patients, kind):
    if kind == "llama":
        model = tiny_causal_model.make_model(len(tokenizer))
    else:
        model = tiny_causal_model.make_other_model(kind, len(tokenizer))
    without = LocalEngine.of(model, tokenizer, prefix_cache=False)
    kept = LocalEngine.of(model, tokenizer)
    requests = [
        ask(words, max_tokens=10 + 3 * at, form="training" if at == 5 else "serving")
        for at, words in enumerate(patients)
    ]
    wanted = [without.generate(request) for request in requests]
    assert [kept.generate(request) for request in requests] == wanted
    assert kept.generate_batch(requests) == wanted
    assert LocalEngine.of(model, tokenizer).generate_batch(requests) == wanted


def test_the_constant_beginning_is_read_once(fresh, ask, forwards):
    whole = fresh.count_tokens(ask("Fever").messages)
    first = read(forwards, lambda: fresh.generate(ask("Fever", max_tokens=2)))
    assert sum(columns for _, columns in first) == whole
    second = read(forwards, lambda: fresh.generate(ask("My knee hurts.", max_tokens=2)))
    assert sum(columns for _, columns in second) < 30 < whole


def test_a_batch_shares_it(fresh, ask, patients, forwards):
    fresh.generate(ask(max_tokens=1))
    shapes = read(forwards, lambda: fresh.generate_batch([ask(words, max_tokens=1) for words in patients]))
    assert sum(rows for rows, _ in shapes) == len(patients)
    assert max(columns for _, columns in shapes) < 150


def test_tools_and_forms_have_beginnings_of_their_own(fresh, ask, forwards):
    plain = ask("Fever", max_tokens=2)
    for request in (plain, replace(plain, tools=(TOOL,)), replace(plain, form="training")):
        fresh.generate(request)
        again = replace(request, messages=({"role": "user", "content": "My knee hurts."},))
        prompt = len(fresh._prompter.encode(again))
        shapes = read(forwards, lambda again=again: fresh.generate(again))
        assert sum(columns for _, columns in shapes) < min(40, prompt)


def test_a_callers_system_message_counts_from_the_second_time(fresh, forwards):
    system = {"role": "system", "content": "You answer in the words of a ship's doctor, briefly. " * 3}

    def ask_under(words):
        messages = (system, {"role": "user", "content": words})
        return ChatRequest(messages, Sampling(max_tokens=2))

    sizes = [
        sum(columns for _, columns in read(forwards, lambda w=words: fresh.generate(ask_under(w))))
        for words in ("Fever", "pain", "cough", "?")
    ]
    assert sizes[3] < 25 < sizes[1]


def test_what_a_patient_wrote_is_never_kept(fresh, ask, patients, tokenizer):
    for words in patients:
        row = fresh._ticket(ask(words)).row
        constant = tokenizer.decode(row.prompt[: row.constant])
        assert fresh.prompt.safety in constant
        assert words[:4] not in constant.replace(fresh.prompt.serving_text, "")


def test_no_more_than_eight_and_the_oldest_goes(model):
    class One:
        def model(self, _key):
            return model

        def opening(self, _key):
            return None

    cache = PrefixCache(Forwards(One()))
    assert cache.serves("", 16)
    assert not cache.serves("", 15)
    assert not PrefixCache(Forwards(One()), on=False).serves("", 400)
    seen = []
    hook = model.register_forward_pre_hook(
        lambda _module, _args, given: seen.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    beginnings = [[*range(10, 26), at, at] for at in range(30, 40)]
    with torch.inference_mode():
        for tokens in beginnings:
            assert cache.beginning("", tokens, 3).get_seq_length() == 18
        assert len(cache) == 8
        assert seen == [18] + [2] * 9, "what they have in common is not computed again"
        cache.beginning("", beginnings[-1], 1)
        assert len(seen) == 10
        cache.beginning("", beginnings[0], 1)
        assert len(seen) == 11
    hook.remove()


def test_a_failure_while_the_beginning_is_read(model, tokenizer, ask):
    engine = LocalEngine.of(model, tokenizer)
    hook = model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        engine.generate(ask())
    hook.remove()
    assert engine.generate(ask(max_tokens=3)).usage.output_tokens == 3


@pytest.mark.slow
def test_the_first_token_comes_at_least_twice_as_soon(tokenizer, ask):
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=4,
            num_attention_heads=8,
            max_position_embeddings=1024,
        )
    )
    engines = [LocalEngine.of(model, tokenizer, prefix_cache=kept) for kept in (True, False)]
    assert engines[0].count_tokens(ask("Fever").messages) > 300

    def seconds(engine, words):
        stream = engine.stream(ask(words, max_tokens=2))
        started = time.perf_counter()
        next(stream)
        taken = time.perf_counter() - started
        list(stream)
        return taken

    for engine in engines:
        seconds(engine, "Fever")
    times = [[seconds(engine, f"pain {at}") for engine in engines] for at in range(9)]
    kept, without = (statistics.median(column) for column in zip(*times, strict=True))
    assert kept * 2 <= without
