"""Rules for dates that name a day, with the month as a word; those in figures are Presidio's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatdoctor_hub.corpus.cleaning.identifiers.view import Rule, Span, View, has_any

__all__ = ["DATE_RULES"]

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|"
    r"Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_YEAR = r"(?:(?:19|20)[0-9]{2}|'[0-9]{2})"
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])"
_DAY_FIRST = re.compile(
    rf"(?<![\w.,/-])(?P<day>{_DAY})(?P<nth> ?(?:st|nd|rd|th))?,?(?: of)?(?: the)?[ ./-]?(?P<month>{_MONTH})\b\.?"
    rf"(?P<year>[ ,/.-]{{0,2}}{_YEAR}(?![0-9])|[-/][0-9]{{2}}(?![0-9]))?",
    re.IGNORECASE,
)
_MONTH_FIRST = re.compile(
    rf"(?<![A-Za-z])(?P<month>{_MONTH})\.?[ ,-]{{1,2}}(?:the )?(?P<day>{_DAY})(?P<nth> ?(?:st|nd|rd|th))?"
    rf"(?![\w%/°]|[.,:][0-9]|-[0-9])"
    rf"(?P<year>,? ?{_YEAR}(?![0-9]))?",
    re.IGNORECASE,
)
# "Can I May 2 times …" is no date, "on May 2", "May 2," and "May 2nd" are.
_LEADS_TO_A_DATE = re.compile(
    r"(?:\b(?:on|since|until|till|from|by|before|after|of|to|and|dated|date|dob|born|was|is|last|this|next|around|about|between|early|"
    r"late|late|due|for)|[(:,])\s{0,3}$",
    re.IGNORECASE,
)
_ENDS_A_DATE = re.compile(r"\s{0,3}(?:[,.;)\n]|$)")
_QUANTITY = re.compile(
    r" ?-?(?:[mkun]?g|mcg|ml|iu|units?|times?|tab(?:let)?s?|pills?|caps?(?:ules?)?|days?|weeks?|wks?|months?|years?|yrs?|"
    r"hours?|hrs?|min(?:ute)?s?|doses?|drops?|puffs?|people|patients?|of|more|or|to|x|per)\b|%",
    re.IGNORECASE,
)
_ISO_TIME = re.compile(
    r"(?<![\w.-])(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9])?"
    r"(?:\.[0-9]{1,9})?(?:Z|[+-][0-2][0-9]:?[0-5][0-9])?(?![\w:])"
)
_CHINESE = re.compile(
    r"(?<![0-9])(?:(?:(?:19|20)?[0-9]{2}) ?年 ?)?(?:1[0-2]|0?[1-9]) ?月 ?(?:3[01]|[12][0-9]|0?[1-9]) ?[日号]"
)
_DOUBTFUL = {
    "may",
    "mar",
    "march",
    "dec",
    "sep",
    "jan",
    "oct",
    "june",
    "august",
    "jun",
    "nov",
    "feb",
    "apr",
    "jul",
    "aug",
}


def _with_month(view: View) -> Iterator[Span]:
    text = view.text
    for match in _DAY_FIRST.finditer(text):
        sure = match["nth"] or match["year"]
        if sure or match["month"][0].isupper():
            yield match.span()
    for match in _MONTH_FIRST.finditer(text):
        if not (match["nth"] or match["year"]):
            if not match["month"][0].isupper() or _QUANTITY.match(text, match.end()):
                continue
            if match["month"].casefold() in _DOUBTFUL and not (
                _LEADS_TO_A_DATE.search(text, max(0, match.start() - 12), match.start())
                or _ENDS_A_DATE.match(text, match.end())
            ):
                continue
        elif match["month"].islower() and not match["year"] and match["month"] in {"may", "march", "mar"}:
            continue
        yield match.span()
    yield from (match.span() for match in _ISO_TIME.finditer(text))


def _chinese(view: View) -> Iterator[Span]:
    return (match.span() for match in _CHINESE.finditer(view.text))


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DATE_RULES = (
    Rule("date", has_any(*_MONTHS, ":", digits=True), _with_month),
    Rule("date", has_any("月", digits=True), _chinese),
)
