"""Scheduling: one thread answers what all threads and tasks ask of an engine, as much together as can be.

`Scheduler` takes `Ticket`s in and decides who is next; `Rounds` gives every row under way its next token; a `Group`
is the rows of one padded cache; `PrefixCache` keeps what all prompts begin with.
"""

from __future__ import annotations

from chatdoctor_hub.inference.scheduling.groups import Group
from chatdoctor_hub.inference.scheduling.passes import Forward, Forwards, Models
from chatdoctor_hub.inference.scheduling.prefixes import PrefixCache
from chatdoctor_hub.inference.scheduling.rounds import Rounds
from chatdoctor_hub.inference.scheduling.scheduler import Scheduler
from chatdoctor_hub.inference.scheduling.streams import apieces, pieces
from chatdoctor_hub.inference.scheduling.tickets import Ticket

__all__ = [
    "Forward",
    "Forwards",
    "Group",
    "Models",
    "PrefixCache",
    "Rounds",
    "Scheduler",
    "Ticket",
    "apieces",
    "pieces",
]
