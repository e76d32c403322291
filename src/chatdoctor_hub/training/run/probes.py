"""`Prober`: what a model answers to harmful and harmless requests while it is tuned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, zip_longest
from typing import Any

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.models import require_extra
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.safety import SafetyRequest, benign_requests, harmful_requests, is_refusal
from chatdoctor_hub.training.recipe import ProbeConfig

__all__ = ["Prober"]

_TOGETHER = 32  # requests in a batch
_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")


class Prober:
    """Asks a model the first shipped requests of each category, under the serving form of its prompt.

    The numbers say which way a run goes, and no more: the requests are few and the judge is a rule for
    English (`is_refusal`). `evaluation.attack_success` and `over_refusal` measure a finished model.

    A call changes nothing: neither weights, nor gradients, nor the mode of a module, nor the state of a
    random generator. Under several processes every one of them calls, since sharded weights are gathered
    on the way.

    Args:
        model: the live model, adapters on; in the attention it has when the prober is made.
        tokenizer: its tokenizer; not changed.
        pair: the prompt pair of the run.
        probes: how many requests, and how long an answer may be.

    Raises:
        MissingExtraError: without torch and transformers.
        ContextLengthError: when a request under the serving form leaves no room for an answer.
        ModelFormatError: when the chat template refuses the requests.
    """

    def __init__(self, model: Any, tokenizer: Any, pair: PromptPair, probes: ProbeConfig) -> None:
        require_extra("torch", "transformers", extra="train")
        harmful, harmless = _spread(harmful_requests()), _spread(benign_requests())
        self._count = min(probes.requests, len(harmful), len(harmless))
        self._model, self._tokenizer = model, tokenizer
        self._attention = getattr(model.config, "_attn_implementation", None)
        asked = [*harmful[: self._count], *harmless[: self._count]]
        self._prompts = [_encoded(request, pair, tokenizer) for request in asked]
        self._ends = sorted(pair.ends_of_turns(tokenizer) | {int(tokenizer.eos_token_id)})
        self._room = _room(model, max(map(len, self._prompts)), probes.max_tokens)

    def __call__(self) -> dict[str, float]:
        """Ask, and judge.

        Returns:
            harmful_refused: share of the harmful requests that were refused.
            harmless_answered: share of the harmless ones that got words which are no refusal.
            probe_n: requests of each kind.
        """
        with self._at_rest():
            answers = list(
                chain.from_iterable(
                    self._answers(self._prompts[start : start + _TOGETHER])
                    for start in range(0, len(self._prompts), _TOGETHER)
                )
            )
        harmful, harmless = answers[: self._count], answers[self._count :]
        return {
            "harmful_refused": sum(map(is_refusal, harmful)) / self._count,
            "harmless_answered": sum(bool(answer.strip()) and not is_refusal(answer) for answer in harmless)
            / self._count,
            "probe_n": self._count,
        }

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """The model without dropout and in its own attention; as before when the block ends."""
        import torch

        model = self._model
        modes = [(module, module.training) for module in model.modules()]
        attention = getattr(model.config, "_attn_implementation", None)
        device = model.device
        try:
            if attention != self._attention:
                # Passes that lay dialogues end to end attend in a way that cannot write an answer.
                model.set_attn_implementation(self._attention)
            model.eval()
            with (
                _gathering(model),
                torch.no_grad(),
                torch.random.fork_rng([device] if device.type == "cuda" else []),
            ):
                yield
        finally:
            for module, training in modes:
                module.training = training
            if attention != self._attention:
                model.set_attn_implementation(attention)

    def _answers(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """The most likely words, token by token, of a batch that is padded on the left."""
        import torch
        from transformers import GenerationConfig

        width = max(map(len, prompts))
        padding = self._ends[0]
        ids = torch.tensor([[padding] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        # What is not said here would be taken from the model's own settings.
        greedy = GenerationConfig(
            max_new_tokens=self._room,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            use_cache=True,
            pad_token_id=padding,
            eos_token_id=self._ends,
        )
        device = self._model.device
        written = self._model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=greedy
        )
        texts: list[str] = self._tokenizer.batch_decode(
            written[:, width:].tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts


@contextmanager
def _gathering(model: Any) -> Iterator[None]:
    """Inside, a model that FSDP2 holds in shards gathers those of its root to write an answer too."""
    import torch

    sharded: list[Any] = []
    if torch.distributed.is_available():
        from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

        sharded = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if not sharded:
        yield
        return
    own = vars(model).get("generate")
    register_fsdp_forward_method(model, "generate")
    try:
        yield
    finally:
        vars(model).pop("generate", None)
        if own is not None:
            model.generate = own
        for module in sharded:
            module.reshard()


def _spread(requests: Sequence[SafetyRequest]) -> list[SafetyRequest]:
    """The first of every category, then the second of each, and so on."""
    categories: dict[str, list[SafetyRequest]] = {}
    for request in requests:
        categories.setdefault(request.category, []).append(request)
    rounds = zip_longest(*categories.values())
    return [request for row in rounds for request in row if request is not None]


def _encoded(request: SafetyRequest, pair: PromptPair, tokenizer: Any) -> list[int]:
    text = pair.render_prompt([{"role": "user", "content": request.text}], tokenizer)
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _room(model: Any, longest: int, wanted: int) -> int:
    config = model.config.get_text_config()
    limits = [getattr(config, name, None) for name in _LENGTHS]
    room = min([wanted, *(limit - longest for limit in limits if isinstance(limit, int) and limit > 0)])
    if room < 1:
        raise ContextLengthError(
            f"Expected room for an answer after probes of {longest} tokens, found a context of "
            f"{longest + room} tokens; set probes.times to 0, or use another base."
        )
    return room
