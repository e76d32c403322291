"""Templates of cards, and their filling in: strict, and the same for models and data sets."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["card_template_text", "fill_card"]


def card_template_text(package: str, name: str) -> str:
    """The text of a template: in the wheel beside a package, in a checkout in `model_cards/`.

    Args:
        package: beside which it lies in the wheel ("chatdoctor_hub.release").
        name: of the file.
    """
    shipped = resources.files(package).joinpath(f"model_cards/{name}")
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[3] / "model_cards" / name).read_text(encoding="utf-8")


def fill_card(template: str, **values: Any) -> str:
    """A card from its template; the same values give the same card, byte for byte.

    Filters: `cell` (text that stays in its cell of a table), `count_of` (a number with commas, "" for none),
    `percent` (of a share).

    Raises:
        LookupError: naming a value that the template needs and was not given.
    """
    from jinja2 import UndefinedError

    try:
        text: str = _compiled(template).render(**values)
    except (UndefinedError, KeyError) as error:
        raise LookupError(str(error)) from error
    return text


@lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["cell"] = _cell
    environment.filters["count_of"] = lambda count: f"{count:,}" if isinstance(count, int) else ""
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    environment.filters["share"] = _share
    return environment.from_string(template)


def _cell(text: object) -> str:
    """Text that stays in its cell of a Markdown table, and is no mark of a block."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<!--", "&lt;!--")


def _share(record: Any) -> str:
    """A proportion with its interval, or that there is none."""
    if not record:
        return "not measured"
    rate, low, high = (f"{100 * record[name]:.1f} %" for name in ("rate", "low", "high"))
    return f"{record['successes']}/{record['n']} = {rate} [{low}, {high}]"
