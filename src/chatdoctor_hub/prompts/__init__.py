"""Prompts: the two forms of every prompt, how they are rendered, and how the serving form is baked in."""

from chatdoctor_hub.prompts.baking import bake, baked_digest, unbake
from chatdoctor_hub.prompts.pair import PromptPair, catalogue
from chatdoctor_hub.prompts.rendering import Form, Span, render_with_spans

__all__ = ["Form", "PromptPair", "Span", "bake", "baked_digest", "catalogue", "render_with_spans", "unbake"]
