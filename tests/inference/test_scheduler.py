"""What several callers ask of one engine at the same time."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest
import tiny_causal_model
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference import LocalEngine
from chatdoctor_hub.inference.scheduling.passes import parted

torch = pytest.importorskip("torch")
KINDS = ("llama", *tiny_causal_model.OTHER_KINDS)


def a_model(kind, vocabulary):
    if kind == "llama":
        return tiny_causal_model.make_model(vocabulary)
    return tiny_causal_model.make_other_model(kind, vocabulary)


@pytest.fixture
def slowly(model):
    """Makes every pass of the model take so many seconds, and notes its rows and columns."""
    seen, hooks = [], []

    def make(seconds):
        def wait(_module, _args, given):
            seen.append((*given["input_ids"].shape, given["attention_mask"].shape[1]))
            time.sleep(seconds)

        hooks.append(model.register_forward_pre_hook(wait, with_kwargs=True))
        return seen

    yield make
    for hook in hooks:
        hook.remove()


def in_threads(*calls):
    """What the calls return, each made in a thread of its own, a little after the one before."""
    found = [None] * len(calls)

    def run(at, call):
        try:
            found[at] = call()
        except Exception as error:  # noqa: BLE001 - it is looked at
            found[at] = error

    threads = [threading.Thread(target=run, args=(at, call)) for at, call in enumerate(calls)]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    return found


# The same text in any company


@pytest.mark.parametrize("kind", KINDS)
def test_who_comes_late_gets_and_leaves_the_same_text(tokenizer, ask, patients, kind):
    model = a_model(kind, len(tokenizer))
    rows = []
    model.register_forward_pre_hook(
        lambda _module, _args, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    engine = LocalEngine.of(model, tokenizer)
    alone = LocalEngine.of(model, tokenizer, prefix_cache=False)
    requests = [
        ask(
            words,
            max_tokens=60 - 6 * at,
            **({"temperature": 1.1, "seed": at, "top_p": 0.9} if at % 2 else {}),
        )
        for at, words in enumerate(patients)
    ]
    wanted = [alone.generate(request) for request in requests]
    rows.clear()
    first = engine.stream(requests[0])
    begun = [next(first) for _ in range(3)]
    others = in_threads(*(lambda r=request: engine.generate(r) for request in requests[1:]))
    assert others == wanted[1:]
    assert "".join(delta.text for delta in [*begun, *first]) == wanted[0].text
    assert max(rows) > 1, "they were answered together"


def test_penalties_join_and_leave(engine, ask, patients):
    requests = [
        ask(patients[0], max_tokens=50),
        ask(patients[1], max_tokens=40, repetition_penalty=1.4),
        ask(patients[2], max_tokens=30, frequency_penalty=0.7),
        ask(patients[3], max_tokens=20),
    ]
    wanted = [engine.generate(request) for request in requests]
    assert in_threads(*(lambda r=request: engine.generate(r) for request in requests)) == wanted


def test_rows_come_together_and_left_over_padding_goes(engine, ask, slowly):
    long = ask("How long does a runny nose last? " * 8, max_tokens=4)
    short = ask("pain", max_tokens=30)
    passes = slowly(0.01)
    in_threads(lambda: engine.generate(long), lambda: engine.generate(short))
    assert max(rows for rows, *_ in passes) == 2
    last = engine.count_tokens(short.messages) + 29
    assert passes[-1] == (1, 1, last)


@given(
    st.lists(st.integers(1, 500), max_size=30),
    st.integers(1, 300),
)
def test_prompts_are_read_in_passes_that_cost_least(lengths, cost):
    passes = parted(lengths, cost)
    assert sorted(place for part in passes for place in part) == list(range(len(lengths)))
    price = sum(cost + len(part) * max(lengths[place] for place in part) for part in passes)
    if lengths:
        assert price <= cost + len(lengths) * max(lengths)
        assert price <= sum(cost + length for length in lengths)


def test_models_whose_caches_cannot_be_joined_take_turns(
    engine, model, tokenizer, ask, patients, monkeypatch
):
    monkeypatch.setattr("chatdoctor_hub.inference.scheduling.groups.can_join", lambda _cache: False)
    apart = LocalEngine.of(model, tokenizer, name=engine.describe().model)
    requests = [ask(words, max_tokens=20) for words in patients[:3]]
    wanted = [engine.generate(request) for request in requests]
    assert in_threads(*(lambda r=request: apart.generate(r) for request in requests)) == wanted


# Fairness


def test_a_stream_does_not_wait_for_a_long_batch(model, tokenizer, ask, slowly):
    engine = LocalEngine.of(model, tokenizer, max_batch_size=2)
    slowly(0.002)
    batch = threading.Thread(
        target=engine.generate_batch, args=([ask(f"pain {at}", max_tokens=8) for at in range(40)],)
    )
    batch.start()
    time.sleep(0.05)
    assert list(engine.stream(ask("Fever", max_tokens=8)))[-1].usage.output_tokens == 8
    assert batch.is_alive()
    batch.join()


def test_never_more_rows_than_seats(model, tokenizer, ask, forwards):
    engine = LocalEngine.of(model, tokenizer, max_batch_size=3)
    calls = [lambda at=at: engine.generate(ask(f"pain {at}", max_tokens=12)) for at in range(9)]
    assert len({reply.usage.output_tokens for reply in in_threads(*calls)}) == 1
    assert max(rows for rows, _ in forwards) <= 3


# Faults


def test_a_row_without_numbers_fails_alone(engine, model, ask, patients):
    requests = [ask(words, max_tokens=10) for words in patients[:3]]
    wanted = engine.generate_batch(requests)

    def spoil(_module, _args, output):
        if len(output.logits) == 3:
            output.logits[1] = float("nan")

    hook = model.register_forward_hook(spoil)
    try:
        replies = engine.generate_batch(requests, return_exceptions=True)
    finally:
        hook.remove()
    failed = [at for at, reply in enumerate(replies) if isinstance(reply, GenerationError)]
    assert ["NaN" in str(replies[at]) for at in failed] == [True]
    assert all(replies[at] == wanted[at] for at in range(3) if at not in failed)


class DeadEnd:
    """A guide whose grammar allows nothing."""

    restricts, waits, finished, hurried, words, ends = True, False, False, False, 14, frozenset({2})

    @property
    def matcher(self):
        return self

    def mask(self, _place):
        raise GenerationError("no token is allowed")


def test_a_grammar_at_its_end_fails_alone(engine, ask, patients):
    tickets = [engine._ticket(ask(words, max_tokens=10)) for words in patients[:3]]
    tickets[1].row.guide = DeadEnd()
    engine._scheduler.submit(tickets)
    with pytest.raises(GenerationError, match="no token"):
        tickets[1].wait()
    for at in (0, 2):
        assert tickets[at].wait() == engine.generate(ask(patients[at], max_tokens=10))


def test_a_row_that_cannot_be_read_fails_alone(engine, ask, patients, monkeypatch):
    tickets = [engine._ticket(ask(words, max_tokens=10)) for words in patients[:2]]
    monkeypatch.setattr(tickets[0].row, "take", lambda *_: 1 / 0)
    engine._scheduler.submit(tickets)
    with pytest.raises(GenerationError, match="ZeroDivisionError"):
        tickets[0].wait()
    assert tickets[1].wait() == engine.generate(ask(patients[1], max_tokens=10))


def test_a_fault_of_the_scheduler_reaches_everybody(engine, ask, monkeypatch):
    monkeypatch.setattr("chatdoctor_hub.inference.scheduling.rounds.Rounds.step", lambda _: 1 / 0)
    for reply in in_threads(lambda: engine.generate(ask()), lambda: engine.generate(ask("Fever"))):
        assert isinstance(reply, GenerationError)
        assert isinstance(reply.__cause__, ZeroDivisionError)
    monkeypatch.undo()
    assert engine.generate(ask(max_tokens=3)).usage.output_tokens == 3


def test_an_exception_reaches_a_stream_at_once(engine, model, ask):
    stream = engine.stream(ask(max_tokens=100))
    next(stream)
    hook = model.register_forward_hook(lambda *_: 1 / 0)
    try:
        started = time.monotonic()
        with pytest.raises(GenerationError, match="ZeroDivisionError"):
            list(stream)
        assert time.monotonic() - started < 2
    finally:
        hook.remove()


# Leaving


def test_ctrl_c_in_a_waiting_thread_gives_the_row_up(engine, ask, slowly):
    passes = slowly(0.01)
    interrupt = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        engine.generate(ask(max_tokens=250))
    count = len(passes)
    time.sleep(0.1)
    assert 2 <= len(passes) <= count + 1 < 100


def test_a_stream_that_is_forgotten_gives_its_row_up(engine, ask, forwards):
    stream = engine.stream(ask(max_tokens=250))
    next(stream)
    del stream
    count = len(forwards)
    time.sleep(0.1)
    assert len(forwards) <= count + 1 < 200


async def test_who_is_cancelled_leaves_the_others_alone(engine, ask, patients, slowly):
    wanted = engine.generate(ask(patients[1], max_tokens=30))
    slowly(0.003)
    leaving = asyncio.create_task(engine.agenerate(ask(max_tokens=250)))
    staying = asyncio.create_task(engine.agenerate(ask(patients[1], max_tokens=30)))
    await asyncio.sleep(0.05)
    leaving.cancel()
    assert await staying == wanted
    assert leaving.cancelled()


def test_an_event_loop_that_ends_before_its_stream(engine, ask, slowly):
    slowly(0.005)

    async def begin():
        stream = engine.astream(ask(max_tokens=100))
        return await anext(stream), stream

    loop = asyncio.new_event_loop()
    _, stream = loop.run_until_complete(begin())
    loop.close()
    assert engine.generate(ask("Fever", max_tokens=20)).usage.output_tokens == 20
    del stream


def test_several_event_loops_at_once(engine, ask, patients):
    requests = [ask(words, max_tokens=12) for words in patients]
    wanted = [engine.generate(request) for request in requests]

    async def all_of_them():
        return list(await asyncio.gather(*map(engine.agenerate, requests)))

    for replies in in_threads(*[lambda: asyncio.run(all_of_them())] * 3):
        assert replies == wanted


def test_close_fails_what_is_under_way_and_waits_for_nothing(model, tokenizer, ask, slowly):
    engine = LocalEngine.of(model, tokenizer, max_batch_size=1)
    slowly(0.2)
    found = []

    def work():
        found.extend(in_threads(*[lambda: engine.generate(ask(max_tokens=200))] * 2))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    started = time.monotonic()
    engine.describe()
    engine.count_tokens(ask().messages)
    engine.close()
    assert time.monotonic() - started < 0.15
    thread.join(3)
    assert [type(error) for error in found] == [GenerationError] * 2
