"""A chat template with the serving prompt baked in, for people who have never heard of this library."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from chatdoctor_hub.prompts.messages import gap_between, longest_first
from chatdoctor_hub.prompts.shape import Shape

__all__ = ["bake", "baked_digest", "unbake"]

_HEAD = "{{#- chatdoctor-hub: the safety prompt {id} is part of this template; sha256 of its text: {sha256} -#}}\n"
_HEAD_PATTERN = re.compile(
    r"\{#- chatdoctor-hub: the safety prompt \S+ .*?sha256 of its text: ([0-9a-f]{64}) -#\}\n"
)
_TAIL = "{#- chatdoctor-hub: the model's own template follows -#}\n"
# "-#}" would eat white space that a template starts with.
_TAIL_BEFORE_SPACE = _TAIL.replace("-#}", "#}")
_TAIL_PATTERN = re.compile(f"{re.escape(_TAIL)}|{re.escape(_TAIL_BEFORE_SPACE)}")

# What merge_system and fold_system do, in Jinja. Filters rather than string methods, and no **kwargs: other
# implementations of Jinja read this as well; in some, only "| list" makes a sum of lists one that has a first item.
_MERGE = """\
{%- set chatdoctor = namespace(own='', said='', rest=[], lead=true) -%}
{%- for message in messages -%}
{%- if message['role'] in ['system', 'developer'] -%}
{%- set chatdoctor.said = '' -%}
{%- if message['content'] is string -%}
{%- set chatdoctor.said = message['content'] | trim -%}
{%- elif message['content'] -%}
{%- for part in message['content'] -%}
{%- set text = part if part is string else part['text'] -%}
{%- if text is string and text | trim -%}
{%- set chatdoctor.said = chatdoctor.said ~ ('\\n\\n' if chatdoctor.said else '') ~ text | trim -%}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- if chatdoctor.lead -%}
{%- if chatdoctor.said -%}
{%- set chatdoctor.own = chatdoctor.own ~ ('\\n\\n' if chatdoctor.own else '') ~ chatdoctor.said -%}
{%- endif -%}
{%- else -%}
{%- for known in PIECES -%}
{%- set chatdoctor.said = chatdoctor.said | replace(known, GAP) -%}
{%- endfor -%}
{%- if chatdoctor.said | trim -%}
{%- set chatdoctor.rest = (chatdoctor.rest + [{'role': 'system', 'content': chatdoctor.said | trim}]) | list -%}
{%- endif -%}
{%- endif -%}
{%- else -%}
{%- set chatdoctor.lead = false -%}
{%- set chatdoctor.rest = (chatdoctor.rest + [message]) | list -%}
{%- endif -%}
{%- endfor -%}
{%- for known in PIECES -%}
{%- set chatdoctor.own = chatdoctor.own | replace(known, GAP) -%}
{%- endfor -%}
{%- set chatdoctor.own = (SERVING ~ '\\n\\n' ~ chatdoctor.own | trim) | trim -%}
"""
_AS_SYSTEM = """\
{%- set messages = chatdoctor.rest -%}
{%- if chatdoctor.own -%}
{%- set messages = ([{'role': 'system', 'content': chatdoctor.own}] + messages) | list -%}
{%- endif -%}
"""
_AS_FIRST_USER = """\
{%- set messages = chatdoctor.rest -%}
{%- if chatdoctor.own and messages and messages[0]['role'] == 'user' -%}
{%- if messages[0]['content'] is string -%}
{%- set chatdoctor.own = chatdoctor.own ~ '\\n\\n' ~ messages[0]['content'] -%}
{%- else -%}
{%- set chatdoctor.own = [{'type': 'text', 'text': chatdoctor.own ~ '\\n\\n'}] -%}
{%- set chatdoctor.own = (chatdoctor.own + (messages[0]['content'] or [])) | list -%}
{%- endif -%}
{%- set messages = ([{'role': 'user', 'content': chatdoctor.own}] + messages[1:]) | list -%}
{%- elif chatdoctor.own -%}
{%- set messages = ([{'role': 'user', 'content': chatdoctor.own}] + messages) | list -%}
{%- endif -%}
"""


def bake(
    template: str,
    *,
    id: str,
    serving: str,
    known: Sequence[str] = (),
    takes_system_role: bool = True,
    shape: Shape | None = None,
) -> str:
    """Put code in front of `template` that merges `serving` into the messages before it sees them.

    What the model's own template does with system messages, tools and thinking stays as it is. The
    caller's system message is kept after `serving`; a caller that already sent it does not double it.

    Args:
        template: the model's own chat template (Jinja).
        id: of the prompt pair, for the reader of the file.
        serving: the system text of the serving form; no white space around it.
        known: texts that `serving` stands for and that are dropped from a caller's system message.
        takes_system_role: False folds the system words into the first user turn.
        shape: how every question is wrapped; one that is wrapped already stays as it is.

    Returns:
        A chat template. Baking a baked one replaces what was baked in.
    """
    own = unbake(template)
    shape = shape or Shape()
    pieces = longest_first((serving, *known))
    values = {"PIECES": pieces, "GAP": gap_between(pieces), "SERVING": serving}

    def filled(code: str) -> str:
        return re.sub("|".join(values), lambda name: json.dumps(values[name[0]], ensure_ascii=False), code)

    code = filled(_MERGE) + shape.code() + filled(_AS_SYSTEM if takes_system_role else _AS_FIRST_USER)
    sha256 = shape.digest(serving)
    head = _HEAD.format(id=re.sub(r"[^\w.@/-]", "_", id) or "_", sha256=sha256)
    return f"{head}{code}{_TAIL_BEFORE_SPACE if own[:1].isspace() else _TAIL}{own}"


def unbake(template: str) -> str:
    """The model's own template without what `bake` put in front of it."""
    tail = _TAIL_PATTERN.search(template) if _HEAD_PATTERN.match(template) else None
    return template[tail.end() :] if tail else template


def baked_digest(template: str) -> str | None:
    """sha256 of the serving text that a template says it carries, or None for a template that has none."""
    found = _HEAD_PATTERN.match(template)
    return found[1] if found else None
