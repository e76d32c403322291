"""The thread of an engine: when it begins, and when it ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import tiny_causal_model

from chatdoctor_hub.inference import LocalEngine

torch = pytest.importorskip("torch")
BEGIN = f"""
import os, sys, threading
sys.path.append({str(Path(__file__).parent)!r})
import tiny_causal_model
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

tokenizer = tiny_causal_model.make_tokenizer()
engine = LocalEngine.of(tiny_causal_model.make_model(len(tokenizer)), tokenizer)
def ask(tokens):
    return ChatRequest(({{"role": "user", "content": "Fever"}},), Sampling(max_tokens=tokens))
"""


def threads_of(name):
    return [thread for thread in threading.enumerate() if thread.name == f"chatdoctor-hub {name}"]


def eventually(true):
    end = time.monotonic() + 3
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def run(code):
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code], capture_output=True, text=True, timeout=100, check=False
    )


def test_one_thread_from_the_first_request_to_close(model, tokenizer, ask):
    engine = LocalEngine.of(model, tokenizer, name="one")
    assert threads_of("one") == []
    for _ in range(3):
        engine.generate(ask(max_tokens=2))
    (thread,) = threads_of("one")
    assert thread.daemon
    engine.close()
    assert eventually(lambda: not thread.is_alive())


def test_it_ends_when_nothing_comes_and_begins_again(model, tokenizer, ask, monkeypatch):
    monkeypatch.setattr("chatdoctor_hub.inference.scheduling.scheduler._IDLE", 0.03)
    engine = LocalEngine.of(model, tokenizer, name="idle")
    for _ in range(2):
        assert engine.generate(ask(max_tokens=2)).usage.output_tokens == 2
        assert eventually(lambda: threads_of("idle") == [])


def test_a_forgotten_engine_lets_go_of_its_model(tokenizer, ask):
    model = tiny_causal_model.make_model(len(tokenizer))
    engine = LocalEngine.of(model, tokenizer, name="forgotten")
    engine.generate(ask(max_tokens=2))
    known = weakref.ref(model)
    del model, engine
    gc.collect()
    assert eventually(lambda: threads_of("forgotten") == [])
    gc.collect()
    assert known() is None


def test_a_closed_engine_lets_go_of_its_model(tokenizer, ask):
    model = tiny_causal_model.make_model(len(tokenizer))
    engine = LocalEngine.of(model, tokenizer, name="closed")
    engine.generate(ask(max_tokens=2))
    known = weakref.ref(model)
    engine.close()
    del model
    assert eventually(lambda: gc.collect() >= 0 and known() is None)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_forked_process_has_a_thread_of_its_own_and_the_interpreter_ends_in_the_middle():
    done = run(
        """
wanted = engine.generate(ask(9))
stream = engine.stream(ask(300))
next(stream)
child = os.fork()
if child == 0:
    try:
        next(stream)
    except Exception as error:
        told = "forked" in str(error)
    os._exit(0 if told and engine.generate(ask(9)) == wanted else 1)
assert len(list(stream)) > 2
assert engine.generate(ask(9)) == wanted
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
under_way = engine.stream(ask(300))
next(under_way)
print("ends")
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")
