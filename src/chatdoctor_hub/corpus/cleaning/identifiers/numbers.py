"""Rules for numbers that words announce, links, addresses of computers and accounts, and Chinese and Indian numbers.

Links are not left to Presidio: it takes every full stop without a space ("5 mg.am") for one, and spends half a
millisecond on each character of a text made to hold it up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from ipaddress import ip_address

from chatdoctor_hub.corpus.cleaning.identifiers.name_words import is_ordinary
from chatdoctor_hub.corpus.cleaning.identifiers.view import Rule, Span, View, has_any, has_digit

__all__ = ["NUMBER_RULES", "is_chinese_id"]

_ANNOUNCED = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    # These need no further word.
    r"(?:mrn|uhid|nhi|nric|aadhaa?r|nino|medicare|medicaid|national insurance|crno|abha)"
    r"(?: ?(?:card|number|num|no|id|code)\.?)*"
    # These do: "case" and "file" are ordinary words.
    r"|(?:mr|medical records?|health records?|records?|hospital|patients?(?:'?s)?|case|file|chart|ehr|emr|opd?|ipd?|"
    r"reg|regn|registration|admission|accession|encounter|episode|visit|lab|sample|specimen|barcode|bill|invoice|"
    r"receipt|insurance|policy|member|membership|subscriber|claim|group|passport|visa|pan|voter|"
    r"driv(?:ing|ers?|er's) licen[cs]e|licen[cs]e|account|a/c|ticket|reference|ref|booking|order|appointment|"
    r"token|employee|student|customer|user|social insurance|tax|health card|insurance card|ration card)"
    r"(?: (?:card|file|record|registration|reference))?"
    r" ?(?:numbers?|num\b|nos?\b\.?|nr\b\.?|ids?\b|id\b\.?|code|#)"
    r"|passport|driv(?:ing|ers?|er's) licen[cs]e|"
    r"(?:病历|病例|住院|门诊|就诊卡|就诊|病案|医保卡|医保|社保卡|社保|护照|登记|挂号|检查|档案|诊疗卡|床位|单)号码?"
    r")[ \t]{0,3}(?:is|was|as|为|是)?[ \t]{0,3}[:#=.-]{0,2}[ \t]{0,3}(?:is |no\.? ?|#)?",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"[A-Za-z0-9]{1,24}(?:[-/.][A-Za-z0-9]{1,24}){0,5}(?:(?<=[0-9]) [0-9]{2,6}(?![A-Za-z0-9.%/])){0,4}"
    r"(?: (?<=[0-9] )[A-Z](?![A-Za-z0-9']))?"
)
_YEAR_OR_DATE = re.compile(
    r"(?:19|20)[0-9]{2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}|[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}"
)


def _announced(view: View) -> Iterator[Span]:
    text = view.text
    for cue in _ANNOUNCED.finditer(text):
        value = _VALUE.match(text, cue.end())
        if value is None or _YEAR_OR_DATE.fullmatch(value.group()):
            continue
        digits = sum("0" <= char <= "9" for char in value.group())
        letters = any(char.isalpha() for char in value.group())
        if digits >= 4 or (digits == 3 and letters):
            yield value.span()


_LINK = re.compile(
    r"(?<![A-Za-z])https?://[^\s<>()\"']{3,2000}|(?<![A-Za-z0-9@._-])www[0-9]{0,3}\.[A-Za-z0-9-][^\s<>()\"']{2,2000}|"
    r"(?<![A-Za-z0-9@._/-])[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,6}"
    r"\.(?:com|org|net|edu|gov|co\.uk|co\.in|nhs\.uk)(?![A-Za-z0-9@-]|\.[A-Za-z0-9])(?:/[^\s<>()\"']{0,2000})?",
    re.IGNORECASE,
)


def _links(view: View) -> Iterator[Span]:
    for link in _LINK.finditer(view.latin):
        yield link.start(), link.start() + len(link.group().rstrip(".,;:!?"))


_IP = re.compile(
    r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])|"
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){3,7}(?:[0-9A-Fa-f]{1,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3}|(?<=::))(?![\w:]|\.[0-9])"
)
_JOINED = re.compile(r"[0-9][-./]$")
_VERSION = re.compile(r"(?:version|\bv)\.? ?$", re.IGNORECASE)
_FEWEST_GROUPS = 4  # of IPv6: shorter forms look like times and ratios


def _addresses(view: View) -> Iterator[Span]:
    text = view.latin
    for found in _IP.finditer(text):
        before = text[max(0, found.start() - 10) : found.start()]
        groups = [group for group in found.group().split(":") if group]
        if _JOINED.search(before) or _VERSION.search(before) or not _is_address(found.group()):
            continue
        if "." in found.group() or len(groups) >= _FEWEST_GROUPS:
            yield found.span()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_ACCOUNT = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:skype|whats ?app|telegram|instagram|insta|twitter|facebook|fb|snapchat|snap|wechat|kik|"
    r"linkedin|viber|imo|discord|signal)(?![A-Za-z0-9])|(?:微信|QQ|qq|扣扣|微博))"
    r"(?P<id>(?: (?:id|handle|user ?name|name|account|profile|page))|号码?)?"
    r"[ \t]{0,3}(?P<is>(?:is|as|at|on|to|me at|me on|under)\b|[:=-]|为|是)?[ \t]{0,3}[:]?[ \t]{0,3}(?P<at>@?)",
    re.IGNORECASE,
)
_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9]){2,29}(?![A-Za-z0-9@])")
_AT_NAME = re.compile(r"(?<![A-Za-z0-9._%+@-])@[A-Za-z](?:[._]?[A-Za-z0-9_]){2,29}(?![A-Za-z0-9@])")


def _accounts(view: View) -> Iterator[Span]:
    text = view.text
    for cue in _ACCOUNT.finditer(text):
        name = _ACCOUNT_NAME.match(text, cue.end())
        if name is None or (
            name.group().isdigit()
            and cue.group()[0].isascii()
            and not cue.group().casefold().startswith("qq")
        ):
            continue  # a number of a messenger is a phone number
        odd = not name.group().isalpha() and not name.group().replace("-", "").isalpha()
        if odd or cue["at"] or (cue["id"] and cue["is"] and not is_ordinary(name.group())):
            yield cue.start("at"), name.end()
    for name in _AT_NAME.finditer(text):
        if re.search(r"[0-9_]", name.group()):
            yield name.span()


_CHINESE_ID = re.compile(r"(?<![0-9A-Za-z])[1-9][0-9]{16}[0-9Xx](?![0-9A-Za-z])")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_chinese_id(number: str) -> bool:
    """Whether 18 characters are an identity number: a date of birth and a check digit (GB 11643-1999).

    The check digit is that of ISO 7064, MOD 11-2: the weighted sum of the first 17 digits, modulo 11,
    picks it out of "10X98765432".
    """
    if _CHINESE_ID.fullmatch(number) is None:
        return False
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def _chinese_ids(view: View) -> Iterator[Span]:
    return (match.span() for match in _CHINESE_ID.finditer(view.text) if is_chinese_id(match.group()))


_CHINESE_PHONE = re.compile(
    r"(?<![0-9A-Za-z.+-])(?:(?:\+|00)?86[- ]?)?1[3-9][0-9](?:[0-9]{8}|[- ][0-9]{4}[- ][0-9]{4})(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z.-])\(?0(?:10|2[0-9]|[3-9][0-9]{2})(?:\) ?|-| )[2-9][0-9]{6,7}(?![0-9A-Za-z]|[.-][0-9])"
    r"|(?<![0-9A-Za-z.-])[48]00-[0-9]{3}-?[0-9]{4}(?![0-9A-Za-z])"
)
_INDIAN_PHONE = re.compile(
    r"(?<![0-9A-Za-z.+-])(?:(?:\+|00)?91[- ]?|0)?[6-9][0-9]{4}[- ]?[0-9]{5}(?![0-9A-Za-z]|[.-][0-9])"
)
_UNIT = re.compile(
    r" {0,2}(?:[kmµunp]?g|mcg|m?[lL]|[mM][lL]|IU|iu|units?|cells?|copies|/|x ?10|per|%|days?|mm|cc|kcal|cal|times)"
    r"(?![A-Za-z])"
)


def _phones(view: View) -> Iterator[Span]:
    for pattern in (_CHINESE_PHONE, _INDIAN_PHONE):
        for match in pattern.finditer(view.text):
            if not _UNIT.match(view.text, match.end()):
                yield match.span()


_SERVICES = has_any(
    "skype", "whats", "telegram", "insta", "twitter", "facebook", "fb", "snap", "wechat", "kik", "linkedin", "viber",
    "imo", "discord", "signal", "微", "qq", "扣扣", "@",
)  # fmt: skip
_LINKS = has_any("://", "www", ".com", ".org", ".net", ".edu", ".gov", ".co.uk", ".co.in", ".nhs.uk")
NUMBER_RULES = (
    Rule("url", _LINKS, _links),
    Rule("ip_address", has_digit, _addresses),
    Rule("record_number", has_digit, _announced),
    Rule("handle", _SERVICES, _accounts),
    Rule("chinese_id", has_digit, _chinese_ids),
    Rule("phone", has_digit, _phones),
)  # fmt: skip
