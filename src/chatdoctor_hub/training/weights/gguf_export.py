"""`export_gguf`: a run's merged weights, or a model's, as one GGUF file with the serving form in it."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.folders import replacing_file
from chatdoctor_hub.models import is_adapter, load_tokenizer, locate, require_extra
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.run_folder import RECORD, RunFolder
from chatdoctor_hub.training.weights.gguf_model import GgufModel
from chatdoctor_hub.training.weights.gguf_tokens import GgufTokens
from chatdoctor_hub.training.weights.merging import merge_run

if TYPE_CHECKING:
    import numpy

__all__ = ["GgufReport", "export_gguf", "write_gguf"]

# Largest error a tensor may have, over its largest value: of half a step of the type's numbers.
_TOLERANCES = {"f32": 0.0, "f16": 2**-11, "bf16": 2**-8, "q8_0": 0.0045}
_FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}


@dataclass(frozen=True)
class GgufReport:
    """A GGUF file that was read back and compared with the weights it was made of.

    Args:
        path: of the file.
        architecture: as GGUF names it.
        type: of the matrices; vectors are float32, and rows that no block of q8_0 fits are f16.
        tensors: how many.
        bytes: size of the file.
        largest_error: of any tensor, over its largest value.
        tokenizer: "gpt2" (byte-level BPE) or "llama" (SentencePiece's), and how text is cut.
        prompt: the prompt pair whose serving form is in the chat template; "" where it is the folder's own.
        context: tokens.
    """

    path: str
    architecture: str
    type: str
    tensors: int
    bytes: int
    largest_error: float
    tokenizer: str
    prompt: str
    context: int

    def to_record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def export_gguf(
    source: RunFolder | str | PathLike[str], out: str | PathLike[str], type: str = "q8_0"
) -> GgufReport:
    """Write a run, or a folder with a whole model, as GGUF.

    The chat template of a run's file is the serving form of its prompt pair: a converter that takes the
    tokenizer a model was tuned with would ship the form without the safety prompt (PTST).

    Args:
        source: a run or its folder (its merged weights are taken or, if there are none, made for the
            purpose), or a folder with a model and a tokenizer, whose own chat template is taken.
        out: the file.
        type: "f32", "f16", "bf16" or "q8_0".

    Raises:
        MissingExtraError: without gguf.
        ConfigError: for another type.
        ModelFormatError: for a family or tokenizer that cannot be written, or an adapter that cannot be merged.
    """
    require_extra("gguf", extra="gguf")
    require_extra("torch", "transformers", extra="local")
    run = source if isinstance(source, RunFolder) else _run_or_folder(source)
    if isinstance(run, Path):
        return write_gguf(run, run, None, Path(out), type)
    pair = PromptPair.from_record(run.manifest.prompt, str(run.path / RECORD))
    whole = run.model if run.manifest.recipe.adapter.kind == "full" else run.merged
    if (whole / "config.json").is_file():
        return write_gguf(whole, run.tokenizer, pair, Path(out), type)
    Path(out).absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(out).absolute().parent, prefix=".merged-") as place:
        merged = Path(place) / "model"
        merge_run(run, merged)
        return write_gguf(merged, run.tokenizer, pair, Path(out), type)


def _run_or_folder(source: str | PathLike[str]) -> RunFolder | Path:
    if (Path(source) / RECORD).is_file():
        return RunFolder.open(Path(source))
    folder = locate(source)
    if is_adapter(folder):
        raise ModelFormatError(
            f"{folder}: expected a run or a whole model, found an adapter; give the run it comes from."
        )
    return folder


def write_gguf(model: Path, tokenizer: Path, pair: PromptPair | None, out: Path, type: str) -> GgufReport:
    """As `export_gguf`, from a model's folder and a tokenizer's.

    Args:
        model: the folder of a whole model.
        tokenizer: the folder of its tokenizer.
        pair: whose serving form becomes the chat template; None takes the tokenizer's own.
        out: the file; whole or not at all.
        type: of the matrices.
    """
    require_extra("gguf", extra="gguf")
    if type not in _TOLERANCES:
        raise ConfigError(
            f"Expected a GGUF type among {', '.join(_TOLERANCES)}, found {type!r}; choose one of these."
        )
    found, words = GgufModel(model), load_tokenizer(tokenizer)
    tokens = GgufTokens.of(words, found.rows, tokenizer)
    with replacing_file(out, what="GGUF file") as new:
        _write(new, found, tokens, words, pair, type)
        count, error = _compared(new, found, type)
        size = new.stat().st_size
    return GgufReport(
        path=str(out),
        architecture=found.architecture.name.lower(),
        type=type,
        tensors=count,
        bytes=size,
        largest_error=error,
        tokenizer=f"{tokens.model}, {tokens.pre}",
        prompt=pair.id if pair else "",
        context=found.context,
    )


def _write(
    file: Path, model: GgufModel, tokens: GgufTokens, tokenizer: Any, pair: PromptPair | None, type: str
) -> None:
    import gguf
    import numpy

    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[model.architecture])
    try:
        writer.add_type("model")
        writer.add_file_type(gguf.LlamaFileType[_FILE_TYPES[type]])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        model.write_settings(writer)
        tokens.write(writer, tokenizer)
        if template := _template(tokenizer, pair):
            writer.add_chat_template(template)
        # Names and shapes stand before all values, so the weights are gone through twice, never held.
        for name, values in model.tensors():
            kind = _kind(values, type)
            stored = gguf.quants.quantize(numpy.zeros_like(values[:1] if values.ndim > 1 else values), kind)
            size = stored.nbytes * (len(values) if values.ndim > 1 else 1)
            shape = (len(values), *stored.shape[1:]) if values.ndim > 1 else stored.shape
            writer.add_tensor_info(name, shape, stored.dtype, size, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, values in model.tensors():
            with numpy.errstate(over="ignore"):  # what f16 cannot hold is found out when it is read back
                stored = gguf.quants.quantize(values, _kind(values, type))
            writer.write_tensor_data(stored)
    finally:
        writer.close()


def _template(tokenizer: Any, pair: PromptPair | None) -> str:
    if pair is not None:
        return pair.serving_template(tokenizer)
    own = tokenizer.chat_template
    return str(own.get("default", "") if isinstance(own, dict) else own or "")


def _kind(values: numpy.ndarray, type: str) -> Any:
    """Vectors stay in float32; blocks of q8_0 are 32 wide."""
    from gguf import GGMLQuantizationType

    if values.ndim == 1:
        return GGMLQuantizationType.F32
    if type == "q8_0" and values.shape[-1] % 32:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[type.upper()]


def _compared(file: Path, model: GgufModel, type: str) -> tuple[int, float]:
    """(tensors, largest error over a tensor's largest value) of a file, against what it was made of."""
    import gguf
    import numpy

    held = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    largest = 0.0
    for name, values in model.tensors():
        tensor = held.pop(name, None)
        if tensor is None:
            break
        read = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(values.shape)
        error = float(numpy.abs(read - values).max()) / max(float(numpy.abs(values).max()), 1e-30)
        largest = max(largest, error if numpy.isfinite(error) else float("inf"))
    else:
        if not held and largest <= max(_TOLERANCES[type], _TOLERANCES["f16"] if type == "q8_0" else 0.0):
            return len(gguf.GGUFReader(file).tensors), largest
    raise ModelFormatError(
        f"{model.folder}: expected weights that {type} holds to {_TOLERANCES[type]:g} of the largest, found "
        f"{'others' if largest == 0 else f'an error of {largest:.2g}'}; nothing was written: use f32 or bf16."
    )
