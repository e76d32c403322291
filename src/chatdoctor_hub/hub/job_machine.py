"""`Machine`: what a job would run on, and what that costs at most."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.hub.session import Session

__all__ = ["Machine", "find_machine", "minutes_of"]

_TIMEOUT = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_MINUTES = {"": 1 / 60, "s": 1 / 60, "m": 1.0, "h": 60.0, "d": 24 * 60.0}
_LABELS = {"second": 1 / 60, "minute": 1.0, "hour": 60.0}


@dataclass(frozen=True)
class Machine:
    """A machine of the Hub.

    Args:
        flavor: as the Hub calls it: "a100-large".
        name: for people.
        usd_a_minute: its price; None where the Hub says it in another way.
    """

    flavor: str
    name: str
    usd_a_minute: float | None

    def usd(self, minutes: float) -> float | None:
        """What a job of so many minutes costs."""
        return None if self.usd_a_minute is None else self.usd_a_minute * minutes


def minutes_of(timeout: str) -> float | None:
    """The minutes in "90m", "12h" and the like, in seconds where there is no letter; None for another text."""
    found = _TIMEOUT.fullmatch(timeout)
    return float(found[1]) * _MINUTES[found[2]] if found else None


def find_machine(session: Session, flavor: str) -> Machine:
    """The machine of that name.

    Raises:
        ConfigError: when the Hub has none.
        HubError: when it does not answer.
    """
    listed = session.ask("the machines for jobs", session.api.list_jobs_hardware)
    for one in listed:
        if one.name == flavor:
            part = _LABELS.get(one.unit_label)
            return Machine(flavor, one.pretty_name, one.unit_cost_usd / part if part else None)
    near = difflib.get_close_matches(flavor, [one.name for one in listed], n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(
        f"flavor: expected a machine of the Hub, found {flavor!r}; {hint}`hf jobs hardware` lists them with their prices."
    )
