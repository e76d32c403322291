"""Prompts: the two forms of every prompt, how they are rendered, and how the serving form is baked in."""

from chatdoctor_hub.prompts.baking import bake, baked_digest, unbake
from chatdoctor_hub.prompts.catalogue import catalogue, known_safety_prompts
from chatdoctor_hub.prompts.pair import PromptPair
from chatdoctor_hub.prompts.rendering import FORMS, Form, Span, render_with_spans
from chatdoctor_hub.prompts.shape import Shape

__all__ = [
    "FORMS",
    "Form",
    "PromptPair",
    "Shape",
    "Span",
    "bake",
    "baked_digest",
    "catalogue",
    "known_safety_prompts",
    "render_with_spans",
    "unbake",
]
