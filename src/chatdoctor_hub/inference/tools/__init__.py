"""Tools: how a model is told what it may call, and how its calls and thoughts are read back.

A model with a chat template that takes tools is told by its template, and its form of calls is learned from
what the template makes of a call (`learn_form`); every other model is told in `OWN_FORM`, after the safety
prompt. An answer is read piece by piece (`AnswerReader`), by the tokenizer's own response template where it
has one (`TemplateReader`).
"""

from __future__ import annotations

from chatdoctor_hub.inference.tools.answering import Answering
from chatdoctor_hub.inference.tools.call_reading import CallReader
from chatdoctor_hub.inference.tools.forms import OWN_FORM, ToolForm, learn_form
from chatdoctor_hub.inference.tools.history import check_calls, has_calls
from chatdoctor_hub.inference.tools.reading import AnswerReader, Piece, Thinking
from chatdoctor_hub.inference.tools.rendering import ToolTemplate
from chatdoctor_hub.inference.tools.template_reading import TemplateReader

__all__ = [
    "OWN_FORM",
    "AnswerReader",
    "Answering",
    "CallReader",
    "Piece",
    "TemplateReader",
    "Thinking",
    "ToolForm",
    "ToolTemplate",
    "check_calls",
    "has_calls",
    "learn_form",
]
