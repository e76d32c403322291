"""Models: finding them on disk or on the Hub, loading them safely, and telling them apart by digest."""

from chatdoctor_hub.models.digest import digest_of
from chatdoctor_hub.models.loading import first_line, load_model, load_tokenizer, require_extra, without_bars
from chatdoctor_hub.models.locate import is_adapter, is_release, locate
from chatdoctor_hub.models.quantized import load_quantized

__all__ = [
    "digest_of",
    "first_line",
    "is_adapter",
    "is_release",
    "load_model",
    "load_quantized",
    "load_tokenizer",
    "locate",
    "require_extra",
    "without_bars",
]
