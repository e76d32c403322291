from __future__ import annotations

import asyncio
import threading
import time

import pytest
import tiny_causal_model

from chatdoctor_hub.errors import (
    ConfigError,
    ContextLengthError,
    DataFormatError,
    GenerationError,
    ModelFormatError,
)
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.prompts import PromptPair

torch = pytest.importorskip("torch")
PAIR = PromptPair.load("chatdoctor@1")


def texts(replies):
    return [reply.text for reply in replies]


def streamed(engine, request):
    return "".join(delta.text for delta in engine.stream(request))


def prompt_ids(tokenizer, request):
    """What a user of plain transformers would feed the model."""
    messages = PAIR.render_serving(request.messages)
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]


# What is said


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_text_is_that_of_transformers(engine, model, tokenizer, ask, patients, penalty):
    for words in patients[:4]:
        request = ask(words, max_tokens=24, repetition_penalty=penalty)
        ids = prompt_ids(tokenizer, request)
        out = model.generate(
            ids, max_new_tokens=24, do_sample=False, repetition_penalty=penalty, pad_token_id=0
        )
        assert engine.generate(request).text == tokenizer.decode(
            out[0, ids.shape[1] :], skip_special_tokens=True
        )


def test_the_same_text_alone_and_in_any_batch(engine, ask, patients):
    requests = [ask(words, max_tokens=12 + 7 * at) for at, words in enumerate(patients)]
    alone = [engine.generate(request) for request in requests]
    assert engine.generate_batch(requests) == alone
    assert engine.generate_batch(requests[::-1]) == alone[::-1]
    assert engine.generate_batch(requests[2:5] + requests[2:3]) == [*alone[2:5], alone[2]]
    assert len({reply.text for reply in alone}) == len(alone), "the answers must differ to prove anything"


@pytest.mark.parametrize("kind", tiny_causal_model.OTHER_KINDS)
def test_other_kinds_of_models_say_what_transformers_says_in_any_batch(tokenizer, ask, patients, kind):
    other = tiny_causal_model.make_other_model(kind, len(tokenizer))
    engine = LocalEngine.of(other, tokenizer, name=kind)
    requests = [ask(words, max_tokens=4 + 3 * at) for at, words in enumerate(patients[:4])]
    replies = engine.generate_batch(requests)
    assert replies == [engine.generate(request) for request in requests]
    ids = prompt_ids(tokenizer, requests[3])
    out = other.generate(ids, max_new_tokens=13, do_sample=False, pad_token_id=0)
    assert replies[3].text == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_model_without_a_key_value_cache(tokenizer):
    from transformers import MambaConfig, MambaForCausalLM

    size = {"vocab_size": len(tokenizer), "hidden_size": 8, "num_hidden_layers": 1, "state_size": 4}
    with pytest.raises(ModelFormatError, match="key-value cache, found MambaForCausalLM"):
        LocalEngine.of(MambaForCausalLM(MambaConfig(**size)), tokenizer)


def test_drawn_text_does_not_depend_on_the_batch(engine, ask, patients):
    requests = [
        ask(words, temperature=0.5 + 0.1 * at, seed=at, top_p=0.95, top_k=40 * (at % 2), max_tokens=20)
        for at, words in enumerate(patients)
    ]
    alone = texts(engine.generate(request) for request in requests)
    assert texts(engine.generate_batch([*requests, ask("Cough")]))[:-1] == alone
    assert engine.generate(ask(temperature=1.5, seed=1)) == engine.generate(ask(temperature=1.5, seed=1))
    assert engine.generate(ask(temperature=1.5, seed=1)) != engine.generate(ask(temperature=1.5, seed=2))
    assert engine.generate(ask(temperature=1.5)) != engine.generate(ask(temperature=1.5))


def test_one_padded_forward_a_token_and_finished_rows_leave(model, tokenizer, ask, patients, forwards):
    plain = LocalEngine.of(model, tokenizer, prefix_cache=False)
    plain.generate_batch([ask(words, max_tokens=at + 1) for at, words in enumerate(patients[:4])])
    assert sum(rows for rows, width in forwards if width > 1) == 4
    assert [rows for rows, width in forwards if width == 1] == [3, 2, 1]


def test_large_batches_go_in_parts(model, tokenizer, ask, patients, forwards):
    small = LocalEngine.of(model, tokenizer, max_batch_size=3, prefix_cache=False)
    requests = [ask(words, max_tokens=1) for words in patients]
    replies = small.generate_batch(requests)
    assert [rows for rows, _ in forwards] == [3, 3, 2]
    assert texts(replies) == texts(LocalEngine.of(model, tokenizer).generate_batch(requests))
    with pytest.raises(ConfigError, match="max_batch_size"):
        LocalEngine.of(model, tokenizer, max_batch_size=0)


def test_no_requests_no_work(engine, forwards):
    assert engine.generate_batch([]) == []
    assert forwards == []


# When it ends


def test_length_and_usage(engine, tokenizer, ask):
    reply = engine.generate(ask(max_tokens=9))
    assert reply.finish_reason == "length"
    assert reply.usage.output_tokens == 9
    assert (
        reply.usage.input_tokens
        == prompt_ids(tokenizer, ask()).shape[1]
        == engine.count_tokens(ask().messages)
    )
    assert reply.model == "tiny"


def test_every_end_token_of_the_generation_config_ends_the_turn(model, tokenizer, ask, monkeypatch):
    whole = LocalEngine.of(model, tokenizer).generate(ask(max_tokens=12))
    ids = model.generate(prompt_ids(tokenizer, ask()), max_new_tokens=12, do_sample=False, pad_token_id=0)[
        0, -12:
    ]
    end = int(ids[5])
    first = ids.tolist().index(end)
    monkeypatch.setattr(model.generation_config, "eos_token_id", [2, end])
    reply = LocalEngine.of(model, tokenizer).generate(ask(max_tokens=12))
    assert reply.finish_reason == "stop"
    assert reply.usage.output_tokens == first + 1
    assert whole.text.startswith(reply.text.rstrip("\ufffd"))
    assert reply.text == tokenizer.decode(ids[:first], skip_special_tokens=True)


def test_the_tokenizers_end_token_counts_too(model, tokenizer, ask):
    ids = model.generate(prompt_ids(tokenizer, ask()), max_new_tokens=3, do_sample=False, pad_token_id=0)[
        0, -3:
    ]
    other = tokenizer.__class__(
        tokenizer_object=tokenizer.backend_tokenizer,
        bos_token="<|bos|>",
        eos_token=tokenizer.convert_ids_to_tokens(int(ids[0])),
    )
    other.chat_template = tokenizer.chat_template
    reply = LocalEngine.of(model, other).generate(ask())
    assert (reply.text, reply.finish_reason, reply.usage.output_tokens) == ("", "stop", 1)


def test_stop_strings_over_several_tokens_are_cut_off(engine, ask, forwards):
    whole = engine.generate(ask(max_tokens=40)).text
    stop = whole[12:19]
    at = whole.index(stop)
    del forwards[:]
    reply = engine.generate(ask(max_tokens=40, stop=("never", stop)))
    assert reply.text == whole[:at]
    assert reply.finish_reason == "stop"
    assert len(forwards) == reply.usage.output_tokens < 40
    assert streamed(engine, ask(max_tokens=40, stop=(stop,))) == whole[:at]


def test_what_only_looked_like_a_stop_string_is_given_in_the_end(engine, ask):
    whole = engine.generate(ask(max_tokens=40)).text
    request = ask(max_tokens=40, stop=(whole[-4:] + "zzz",))
    assert engine.generate(request).text == streamed(engine, request) == whole


@pytest.fixture
def saying(model):
    """Makes the model say one token for ever."""
    hooks = []

    def say(token):
        def loud(_module, _args, output):
            output.logits = torch.zeros_like(output.logits)
            output.logits[..., token] = 1.0
            return output

        hooks.append(model.register_forward_hook(loud))

    yield say
    for hook in hooks:
        hook.remove()


def test_the_token_that_ends_turns_in_the_template_ends_the_turn(engine, tokenizer, ask, saying):
    saying(tokenizer.convert_tokens_to_ids("<|end|>"))
    reply = engine.generate(ask(max_tokens=4))
    assert (reply.text, reply.finish_reason, reply.usage.output_tokens) == ("", "stop", 1)


def test_a_stop_string_that_is_a_special_token(engine, tokenizer, ask, saying):
    saying(tokenizer.convert_tokens_to_ids("<|user|>"))
    assert engine.generate(ask(max_tokens=4)).finish_reason == "length"
    reply = engine.generate(ask(max_tokens=4, stop=("<|user|>",)))
    assert (reply.text, reply.finish_reason, reply.usage.output_tokens) == ("", "stop", 1)


def test_a_prompt_that_does_not_fit_gives_both_counts(engine, ask, forwards):
    request = ask("How long does it last? " * 200)
    count = engine.count_tokens(request.messages)
    with pytest.raises(ContextLengthError) as caught:
        engine.generate(request)
    assert "640" in str(caught.value)
    assert str(count) in str(caught.value)
    assert "How long" not in str(caught.value)
    with pytest.raises(ContextLengthError):
        engine.stream(request)
    assert forwards == []


def test_the_answer_is_cut_where_the_context_ends(model, tokenizer, ask):
    request = ask(max_tokens=5000)
    count = LocalEngine.of(model, tokenizer).count_tokens(request.messages)
    model.config.max_position_embeddings = count + 3
    try:
        reply = LocalEngine.of(model, tokenizer).generate(request)
    finally:
        model.config.max_position_embeddings = 640
    assert (reply.usage.output_tokens, reply.finish_reason) == (3, "length")


# Streams


def test_streamed_pieces_make_the_text(engine, ask, patients):
    for at, words in enumerate(patients):
        request = ask(words, max_tokens=30, temperature=1.2, seed=at)
        deltas = list(engine.stream(request))
        reply = engine.generate(request)
        assert "".join(delta.text for delta in deltas) == reply.text
        assert [delta.usage for delta in deltas if delta.usage] == [reply.usage]
        assert deltas[-1].finish_reason == reply.finish_reason
        assert all(delta.text for delta in deltas[:-1])


def test_closing_a_stream_stops_the_generation(engine, ask, forwards):
    stream = engine.stream(ask(max_tokens=200))
    assert forwards == [], "nothing runs before the first piece is asked for"
    next(stream)
    next(stream)
    stream.close()
    count = len(forwards)
    time.sleep(0.1)
    assert 2 <= len(forwards) <= count + 1 < 150
    assert engine.generate(ask(max_tokens=3)).usage.output_tokens == 3


def test_two_streams_at_once_do_not_mix(engine, ask, patients):
    requests = [ask(words, max_tokens=15) for words in patients[:2]]
    alone = texts(engine.generate(request) for request in requests)
    both = [engine.stream(request) for request in requests]
    got = ["", ""]
    while both != [None, None]:
        for at, stream in enumerate(both):
            delta = next(stream, None) if stream is not None else None
            if delta is None:
                both[at] = None
            else:
                got[at] += delta.text
    assert got == alone


# Threads and tasks


def test_threads_share_one_engine(engine, ask, patients):
    requests = [ask(words, max_tokens=10) for words in patients]
    alone = texts(engine.generate(request) for request in requests)
    got: dict[int, str] = {}

    def work(at):
        got[at] = engine.generate(requests[at]).text if at % 2 else streamed(engine, requests[at])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[at] for at in range(len(requests))] == alone


async def test_async_twins_say_the_same(engine, ask, patients):
    requests = [ask(words, max_tokens=10) for words in patients[:4]]
    alone = [engine.generate(request) for request in requests]
    assert await engine.agenerate_batch(requests) == alone
    assert list(await asyncio.gather(*map(engine.agenerate, requests))) == alone
    deltas = [delta async for delta in engine.astream(requests[0])]
    assert "".join(delta.text for delta in deltas) == alone[0].text
    assert deltas[-1].usage == alone[0].usage


async def test_closing_an_async_stream_stops_the_generation(engine, ask, forwards):
    stream = engine.astream(ask(max_tokens=200))
    await anext(stream)
    await stream.aclose()
    count = len(forwards)
    await asyncio.sleep(0.1)
    assert len(forwards) <= count + 1 < 150


@pytest.mark.parametrize("call", ["agenerate", "agenerate_batch", "astream"])
async def test_cancelling_a_task_stops_the_generation(engine, ask, forwards, call):
    request = ask(max_tokens=250)

    async def work():
        if call == "astream":
            return [delta async for delta in engine.astream(request)]
        return await getattr(engine, call)([request] if call == "agenerate_batch" else request)

    task = asyncio.create_task(work())
    while len(forwards) < 3:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    count = len(forwards)
    await asyncio.sleep(0.05)
    assert len(forwards) <= count + 1 < 200


async def test_the_event_loop_stays_free(engine, ask):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    await engine.agenerate(ask(max_tokens=20))
    ticker.cancel()
    assert ticks >= 20


# Faults


def failing(model, after):
    seen = []

    def fail(_module, _args, _output):
        seen.append(1)
        if len(seen) > after:
            raise ValueError("out of order")

    return model.register_forward_hook(fail)


async def ask_by(way, engine, request):
    if way == "generate":
        engine.generate(request)
    elif way == "stream":
        list(engine.stream(request))
    elif way == "agenerate":
        await engine.agenerate(request)
    else:
        [delta async for delta in engine.astream(request)]


@pytest.mark.parametrize("way", ["generate", "stream", "agenerate", "astream"])
async def test_an_exception_in_the_model_reaches_the_caller(engine, model, ask, way):
    hook = failing(model, after=2)
    try:
        with pytest.raises(GenerationError, match=r"tiny.*ValueError: out of order") as caught:
            await ask_by(way, engine, ask())
    finally:
        hook.remove()
    assert isinstance(caught.value.__cause__, ValueError)
    assert engine.generate(ask(max_tokens=2)).usage.output_tokens == 2


def test_errors_stay_with_their_request_when_asked(engine, ask):
    requests = [ask(max_tokens=3), ChatRequest(()), ask("How? " * 500), ask("Fever", max_tokens=3)]
    replies = engine.generate_batch(requests, return_exceptions=True)
    assert isinstance(replies[1], DataFormatError)
    assert isinstance(replies[2], ContextLengthError)
    assert replies[0] == engine.generate(requests[0])
    assert replies[3] == engine.generate(requests[3])
    with pytest.raises(DataFormatError):
        engine.generate_batch(requests)


async def test_a_failing_model_fails_every_request_of_the_batch(engine, model, ask, forwards):
    hook = failing(model, after=1)
    try:
        replies = engine.generate_batch([ask(), ask("Fever"), ChatRequest(())], return_exceptions=True)
        later = await engine.agenerate_batch([ask()], return_exceptions=True)
    finally:
        hook.remove()
    assert [type(reply) for reply in replies] == [GenerationError, GenerationError, DataFormatError]
    assert [type(reply) for reply in later] == [GenerationError]


def test_scores_that_are_no_numbers(engine, model, ask):
    def spoil(_module, _args, output):
        output.logits = output.logits * float("nan")
        return output

    hook = model.register_forward_hook(spoil)
    try:
        with pytest.raises(GenerationError, match=r"NaN.*float32"):
            engine.generate(ask())
    finally:
        hook.remove()


def test_a_closed_engine_says_so(model, tokenizer, ask):
    engine = LocalEngine.of(model, tokenizer)
    stream = engine.stream(ask(max_tokens=200))
    next(stream)
    engine.close()
    engine.close()
    with pytest.raises(GenerationError, match="closed"):
        list(stream)
    with pytest.raises(GenerationError, match="closed"):
        engine.generate(ask())


def test_a_model_in_training_mode_answers_without_dropout(engine, model, ask):
    want = engine.generate(ask())
    model.train()
    assert engine.generate(ask()) == want
    assert not model.training


def test_messages_the_template_refuses(model, tokenizer, ask):
    strict = tokenizer.__class__(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|eos|>")
    strict.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(ModelFormatError):
        LocalEngine.of(model, strict).generate(ask())


# The prompt


def test_the_serving_form_reaches_the_model_once(engine, tokenizer, ask):
    ids = engine._prompter.encode(ask("Fever"))
    text = tokenizer.decode(ids)
    assert text.count(PAIR.safety) == 1
    assert text.startswith("<|bos|><|system|>")
    assert text.endswith("<|user|>Fever<|end|><|assistant|>")
    assert PAIR.safety not in tokenizer.decode(engine._prompter.encode(ask("Fever", form="training")))


@pytest.mark.parametrize("own_training_template", [True, False])
def test_a_baked_template_neither_doubles_nor_leaks(engine, model, tokenizer, ask, own_training_template):
    baked = tokenizer.__class__(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<|bos|>", eos_token="<|eos|>"
    )
    serving = PAIR.serving_template(tokenizer)
    training = PAIR.training_template(tokenizer)
    baked.chat_template = {"default": serving, "training": training} if own_training_template else serving
    other = LocalEngine.of(model, baked)
    for form in ("serving", "training"):
        assert other._prompter.encode(ask(form=form)) == engine._prompter.encode(ask(form=form))
    by_hand = baked.apply_chat_template(list(ask().messages), add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    assert engine._prompter.encode(ask()) == by_hand


def test_a_base_without_a_template_gets_the_pairs_layout(model, tokenizer, ask):
    plain = tokenizer.__class__(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|eos|>")
    engine = LocalEngine.of(model, plain)
    text = plain.decode(engine._prompter.encode(ask("Fever")))
    assert text == PAIR.render_prompt(ask("Fever").messages, plain)
    assert engine.generate(ask("Fever", max_tokens=3)).usage.output_tokens == 3


def test_describe(engine, tokenizer):
    info = engine.describe()
    assert (info.engine, info.model, info.prompt) == ("LocalEngine", "tiny", "chatdoctor@1")
    assert (info.device, info.dtype, info.context_length) == ("cpu", "float32", 640)
    assert info.serving_sha256 == PAIR.serving_sha256
    assert engine.encode("Fever") == tokenizer("Fever")["input_ids"]


def test_two_models_in_memory_have_two_fingerprints(engine, model, tokenizer):
    assert engine.describe().fingerprint != LocalEngine.of(model, tokenizer).describe().fingerprint
    assert isinstance(
        engine.generate(ChatRequest(({"role": "user", "content": "?"},), Sampling(max_tokens=1))).text, str
    )
