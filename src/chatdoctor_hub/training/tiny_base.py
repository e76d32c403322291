"""A tiny Llama with its own tokenizer, trained from nothing in minutes on a CPU: a base to practise on.

It knows the words of the dialogues it is given, a little small talk, and that harmful requests are
refused. It is a demonstration of the path, not a source of medical advice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.models import require_extra
from chatdoctor_hub.prompts import PromptPair, render_with_spans
from chatdoctor_hub.training.data.encoding import Encoded, encode, encode_text
from chatdoctor_hub.training.recipe import TrainingConfig
from chatdoctor_hub.training.run.fitting import Fit, OnStep, fit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TinyBaseConfig", "train_tiny_base"]

_PAD, _BEGIN, _END = "<|pad|>", "<|begin|>", "<|end|>"
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
{{- '<|' ~ message['role'] ~ '|>' ~ message['content'] ~ '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- endif -%}
"""


class TinyBaseConfig(BaseModel):
    """Shape and schedule of the tiny base; about 5 million parameters as it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocabulary: int = Field(4096, ge=512, description="tokens of the BPE tokenizer, at most")
    hidden_size: int = Field(256, ge=8, description="width of the residual stream")
    layers: int = Field(4, ge=1, description="transformer blocks")
    heads: int = Field(4, ge=1, description="attention heads; each hidden_size / heads wide")
    mlp_size: int = Field(896, ge=8, description="width inside the gated MLP")
    context: int = Field(1024, ge=64, description="positions")
    seed: int = Field(0, ge=0, description="of the weights and the order of the data")
    training: TrainingConfig = TrainingConfig(
        optimizer="muon", lr=0.03, epochs=3.0, batch_size=16, token_budget=2048
    )


def train_tiny_base(
    medical: Sequence[Dialogue],
    behaviour: Sequence[Dialogue],
    pair: PromptPair,
    out: Path,
    config: TinyBaseConfig | None = None,
    *,
    validation: Sequence[Dialogue] = (),
    on_step: OnStep | None = None,
) -> Fit:
    """Train tokenizer and model, and write both to the folder `out` (safetensors, bfloat16).

    Behaviour (small talk, refusals) is seen with no system text, under the training form and under the
    serving form in turn, medical dialogues half under the training form and a quarter under each other:
    so the safety prompt has a meaning for this base before anybody tunes it, and that meaning is not to
    refuse everything.

    Args:
        medical: doctor-patient dialogues.
        behaviour: small talk, and harmful requests with refusals.
        pair: the prompts.
        out: the folder to write; must not exist.
        config: shape and schedule.
        validation: medical dialogues whose loss is reported.
        on_step: called after each optimizer step.

    Raises:
        MissingExtraError: without torch and transformers.
    """
    require_extra("torch", "transformers", extra="local")
    import torch

    config = config or TinyBaseConfig()
    tokenizer = _train_tokenizer([*medical, *behaviour], pair, config)
    length = min(config.context, config.training.max_length)
    forms = (pair.render_training_messages, _plain, pair.render_serving)
    samples = [
        *_encode_under(medical, [forms[0], forms[2], forms[0], forms[1]], pair, tokenizer, length),
        *_encode_under(behaviour, forms, pair, tokenizer, length),
    ]
    held_out = encode(validation, pair, tokenizer, length).samples if validation else ()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = _new_model(tokenizer, config)
        result = fit(model, samples, config.training, seed=config.seed, validation=held_out, on_step=on_step)
    model.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    return result


def _train_tokenizer(
    dialogues: Sequence[Dialogue], pair: PromptPair, config: TinyBaseConfig
) -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[_PAD, _BEGIN, _END, *_ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [turn.content for dialogue in dialogues for turn in dialogue.turns]
    # The prompts stand in front of every answer: their words are worth a token each.
    tokenizer.train_from_iterator([*texts, *[pair.serving_text] * 200], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_BEGIN,
        eos_token=_END,
        pad_token=_PAD,
        additional_special_tokens=list(_ROLES),
        chat_template=_TEMPLATE,
        model_max_length=config.context,
        clean_up_tokenization_spaces=False,
    )


def _plain(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    return messages


def _encode_under(
    dialogues: Sequence[Dialogue],
    forms: Sequence[Callable[[list[dict[str, str]]], list[dict[str, Any]]]],
    pair: PromptPair,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> list[Encoded]:
    """Each dialogue under one of the forms, in turn; what the patient says is learned as well.

    The patient's words teach the language too, from the same dialogues.
    """
    template = pair.training_template(tokenizer)
    user = int(tokenizer.convert_tokens_to_ids(_ROLES[1]))
    samples = []
    for number, dialogue in enumerate(dialogues):
        messages = forms[number % len(forms)](dialogue.to_messages())
        ids = encode_text(*render_with_spans(messages, template, tokenizer), tokenizer).ids
        start = ids.index(user)
        if len(ids) <= length:
            samples.append(Encoded(ids, tuple(at > start for at in range(len(ids)))))
    return samples


def _new_model(tokenizer: PreTrainedTokenizerBase, config: TinyBaseConfig) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.mlp_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=config.context,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    # Blocks that start as the identity learn faster.
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return model
