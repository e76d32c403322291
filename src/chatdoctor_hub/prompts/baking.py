"""A chat template with the serving prompt baked in, for people who have never heard of this library."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

__all__ = ["bake", "baked_digest", "unbake"]

_HEAD = (
    "{#- chatdoctor-hub: the safety prompt {id} is part of this template; sha256 of its text: {sha256} -#}\n"
)
_HEAD_PATTERN = re.compile(
    r"\{#- chatdoctor-hub: the safety prompt \S+ .*?sha256 of its text: ([0-9a-f]{64}) -#\}\n"
)
_TAIL = "{#- chatdoctor-hub: the model's own template follows -#}\n"

# Filters rather than string methods, and no **kwargs: other implementations of Jinja read this as well.
_MERGE = """\
{%- set chatdoctor = namespace(own='', rest=[], lead=true) -%}
{%- for message in messages -%}
{%- if chatdoctor.lead and message['role'] in ['system', 'developer'] -%}
{%- if message['content'] is string -%}
{%- set chatdoctor.own = chatdoctor.own ~ '\\n\\n' ~ message['content'] | trim -%}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part is string -%}
{%- set chatdoctor.own = chatdoctor.own ~ '\\n\\n' ~ part | trim -%}
{%- elif part['text'] -%}
{%- set chatdoctor.own = chatdoctor.own ~ '\\n\\n' ~ part['text'] | trim -%}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- else -%}
{%- set chatdoctor.lead = false -%}
{%- set chatdoctor.rest = chatdoctor.rest + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set chatdoctor.own = chatdoctor.own | trim -%}
{%- for known in PIECES -%}
{%- set chatdoctor.own = chatdoctor.own | replace(known, '') | trim -%}
{%- endfor -%}
{%- set chatdoctor.own = SERVING ~ ('\\n\\n' ~ chatdoctor.own if chatdoctor.own else '') -%}
"""
_AS_SYSTEM = "{%- set messages = [{'role': 'system', 'content': chatdoctor.own}] + chatdoctor.rest -%}\n"
_AS_FIRST_USER = """\
{%- if chatdoctor.rest and chatdoctor.rest[0]['role'] == 'user' -%}
{%- if chatdoctor.rest[0]['content'] is string -%}
{%- set chatdoctor.own = chatdoctor.own ~ '\\n\\n' ~ chatdoctor.rest[0]['content'] -%}
{%- set messages = [{'role': 'user', 'content': chatdoctor.own}] + chatdoctor.rest[1:] -%}
{%- else -%}
{%- set chatdoctor.own = [{'type': 'text', 'text': chatdoctor.own ~ '\\n\\n'}] -%}
{%- set chatdoctor.own = chatdoctor.own + chatdoctor.rest[0]['content'] -%}
{%- set messages = [{'role': 'user', 'content': chatdoctor.own}] + chatdoctor.rest[1:] -%}
{%- endif -%}
{%- else -%}
{%- set messages = [{'role': 'user', 'content': chatdoctor.own}] + chatdoctor.rest -%}
{%- endif -%}
"""


def bake(
    template: str, *, id: str, serving: str, known: Sequence[str] = (), takes_system_role: bool = True
) -> str:
    """Put code in front of `template` that merges `serving` into the messages before it sees them.

    What the model's own template does with system messages, tools and thinking stays as it is. The
    caller's system message is kept after `serving`; a caller that already sent it does not double it.

    Args:
        template: the model's own chat template (Jinja).
        id: of the prompt pair, for the reader of the file.
        serving: the system text of the serving form.
        known: texts that `serving` stands for and that are dropped from a caller's system message.
        takes_system_role: False folds the system words into the first user turn.

    Returns:
        A chat template. Baking a baked one replaces what was baked in.
    """
    quoted = json.dumps([serving, *known], ensure_ascii=False)
    merge = _MERGE.replace("PIECES", quoted).replace("SERVING", json.dumps(serving, ensure_ascii=False))
    head = _HEAD.replace("{id}", id).replace("{sha256}", hashlib.sha256(serving.encode()).hexdigest())
    end = _AS_SYSTEM if takes_system_role else _AS_FIRST_USER
    return f"{head}{merge}{end}{_TAIL}{unbake(template)}"


def unbake(template: str) -> str:
    """The model's own template without what `bake` put in front of it."""
    if not _HEAD_PATTERN.match(template):
        return template
    return template.partition(_TAIL)[2]


def baked_digest(template: str) -> str | None:
    """sha256 of the serving text that a template says it carries, or None for a template that has none."""
    found = _HEAD_PATTERN.match(template)
    return found[1] if found else None
