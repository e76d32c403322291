"""Presidio's pattern recognizers, loaded without the language models that its package brings along.

`import presidio_analyzer` loads spaCy and, where they are installed, torch and transformers (seconds, and
hundreds of megabytes), adds a log handler that prints, and its e-mail recognizer fetches a list of domain
suffixes from the network. The recognizers that are patterns need none of this. So their modules are read from
the installed package into a namespace of their own; `sys.modules` does not change. Where a later version is
laid out differently, the package is imported as it is.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from chatdoctor_hub.errors import MissingExtraError

__all__ = ["load_recognizers", "require_presidio"]

_PACKAGE = "presidio_analyzer"
_PARTS = {
    "analysis_explanation": "AnalysisExplanation",
    "recognizer_result": "RecognizerResult",
    "entity_recognizer": "EntityRecognizer",
    "local_recognizer": "LocalRecognizer",
    "pattern": "Pattern",
    "pattern_recognizer": "PatternRecognizer",
}
_RECOGNIZERS = {
    "email": ("generic.email_recognizer", "EmailRecognizer"),
    "iban": ("generic.iban_recognizer", "IbanRecognizer"),
    "credit_card": ("generic.credit_card_recognizer", "CreditCardRecognizer"),
    "us_ssn": ("country_specific.us.us_ssn_recognizer", "UsSsnRecognizer"),
    "uk_nhs": ("country_specific.uk.uk_nhs_recognizer", "NhsRecognizer"),
    "date": ("generic.date_recognizer", "DateRecognizer"),
    "phone": ("generic.phone_recognizer", "PhoneRecognizer"),
}
_PHONE_REGIONS = ("US", "GB", "IN", "CN", "AU", "PK", "DE", "FR")
_LOADING = threading.Lock()


def require_presidio() -> Path:
    """The folder of the installed package; nothing is imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("presidio-analyzer", "deidentify")
    return Path(next(iter(spec.submodule_search_locations)))


def load_recognizers() -> Mapping[str, Any]:
    """Presidio's recognizers by our kind, with `analyze(text, entities, nlp_artifacts)`; loaded once.

    Raises:
        MissingExtraError: Presidio is not installed.
    """
    with _LOADING:
        return _recognizers(require_presidio())


@lru_cache(maxsize=1)
def _recognizers(folder: Path) -> Mapping[str, Any]:
    try:
        classes = _Shelf(folder).classes()
    except (ImportError, OSError, AttributeError, TypeError, ValueError):
        package = importlib.import_module(f"{_PACKAGE}.predefined_recognizers")
        classes = {kind: getattr(package, name) for kind, (_, name) in _RECOGNIZERS.items()}
    recognizers = {
        kind: made(supported_regions=_PHONE_REGIONS) if kind == "phone" else made()
        for kind, made in classes.items()
    }
    suffixes = importlib.import_module("tldextract").TLDExtract(suffix_list_urls=(), cache_dir=None)
    # Its own check fetches the newest suffixes; the list that comes with the package will do.
    recognizers["email"].validate_result = lambda text: bool(suffixes(text).fqdn)
    return recognizers


class _Shelf:
    """Modules of Presidio under their names, beside `sys.modules`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        root, engine = ModuleType(_PACKAGE), ModuleType(f"{_PACKAGE}.nlp_engine")
        engine.NlpArtifacts = object  # type: ignore[attr-defined]  # for annotations alone
        self._modules = {root.__name__: root, engine.__name__: engine}
        for part, name in _PARTS.items():
            setattr(root, name, getattr(self._module(f"{_PACKAGE}.{part}"), name))

    def classes(self) -> dict[str, Any]:
        return {
            kind: getattr(self._module(f"{_PACKAGE}.predefined_recognizers.{place}"), name)
            for kind, (place, name) in _RECOGNIZERS.items()
        }

    def _module(self, name: str) -> ModuleType:
        if name not in self._modules:
            file = self._folder.joinpath(*name.split(".")[1:]).with_suffix(".py")
            module = ModuleType(name)
            module.__file__ = str(file)
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
            exec(compile(file.read_text("utf-8"), str(file), "exec"), module.__dict__)
            self._modules[name] = module
        return self._modules[name]

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level == 0 and name.split(".")[0] == _PACKAGE and fromlist:
            return self._module(name)
        return builtins.__import__(name, globals, locals, fromlist or (), level)
