"""Rules for street addresses, postcodes, and the names of the platforms that corpora come from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatdoctor_hub.corpus.cleaning.identifiers.view import Rule, Span, View, has_any, has_digit

__all__ = ["PLACE_RULES"]

_WORD = r"(?:[A-ZÀ-Þ][a-zà-ÿ'-]{1,20}\.?|[A-Z]{1,3}\.?|[0-9]{1,3}(?:st|nd|rd|th))"
_ADDRESS = re.compile(
    r"(?<![\w.,/-])(?:(?:[Ff]lat|[Aa]pt\.?|[Aa]partment|[Hh]ouse|[Pp]lot|[Uu]nit|[Ss]uite|[Rr]oom|[Dd]oor|H\.? ?)"
    r"(?: ?[Nn]o\.?| ?[Nn]umber)? ?#?[A-Z]?-?[0-9]{1,5}[A-Za-z]?,? )?"
    rf"#?[0-9]{{1,5}}[A-Za-z]?(?:[-/][0-9]{{1,4}}[A-Za-z]?)?,? (?:(?:North|South|East|West|[NSEW]\.?) )?(?:{_WORD} ){{1,3}}"
    r"(?:Street|St\.|St(?=[,\n]|$)|Road|Rd\.?|Avenue|Ave\.?|Lane|Ln\.?|Drive|Dr\.?(?=,)|Boulevard|Blvd\.?|Court|Place|Square|"
    r"Terrace|Close|Crescent|Way|Highway|Hwy|Parkway|Gardens|Grove|Row|Marg|Nagar|Colony|Layout|Cross|Enclave|Vihar)"
    r"(?![\w'])"
)
_PO_BOX = re.compile(
    r"(?<![\w.])(?:P\.? ?O\.? Box|Post Box|Post Office Box)(?: [Nn]o\.?)? ?#?[0-9]{1,6}(?![\w])",
    re.IGNORECASE,
)


def _addresses(view: View) -> Iterator[Span]:
    for pattern in (_ADDRESS, _PO_BOX):
        yield from (match.span() for match in pattern.finditer(view.text))


# The letters of the inward part leave out C I K M O V, and so "MG", "ML", "MCG" and "IU"; ordinals are not meant.
_UK = re.compile(
    r"(?<![\w.,/-])(?:[A-PR-UWYZ][0-9][0-9A-HJKPSTUW]?|[A-PR-UWYZ][A-HK-Y][0-9][0-9ABEHMNPRVWXY]?) "
    r"[0-9](?!ST|ND|RD|TH)[ABD-HJLNP-UW-Z]{2}(?![\w%/.-]{0,20}[0-9])(?!\w)"
)
_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|"
    r"O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"
)
_US = re.compile(rf"(?<=[a-z], ){_STATE}[ ,]{{1,2}}(?P<code>[0-9]{{5}}(?:-[0-9]{{4}})?)(?![\w]|[.,][0-9])")
_ANNOUNCED = re.compile(
    r"(?<![A-Za-z])(?:zip ?-?code|zip|pin ?-?code|post ?-?code|postal code|邮编|邮政编码)"
    r"[ \t]{0,3}(?:is|no\.?|number)?[ \t]{0,3}[:#-]?[ \t]{0,3}"
    r"(?:is )?(?P<code>[0-9]{5}-[0-9]{4}|[0-9]{3} [0-9]{3}|[0-9]{5,6}|[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2})(?![\w])",
    re.IGNORECASE,
)


def _postcodes(view: View) -> Iterator[Span]:
    text = view.text
    yield from (match.span() for match in _UK.finditer(text))
    for pattern in (_US, _ANNOUNCED):
        yield from (match.span("code") for match in pattern.finditer(text))


# "Chat Doctor" as a name only: with capitals, or after the words of a welcome; the others in any case. Texts
# are often glued together ("welcome to healthcaremagicI am"), so that a capital may follow.
_PLATFORM = re.compile(
    r"(?<![A-Za-z0-9@./])(?:(?i:health ?care ?magic(?:\.com)?|i ?cliniq(?:\.com)?)|[Cc]hatDoctor|Chat [Dd]octor|CHAT DOCTOR"
    r"|(?:(?<=to )|(?<=at )|(?<=on )|(?<=using )|(?<=consulting )|(?<=choosing ))chat ?doctor)(?![a-z0-9])"
)
_CHINESE_PLATFORM = re.compile(r"好大夫在线|春雨医生")


def _platforms(view: View) -> Iterator[Span]:
    for pattern in (_PLATFORM, _CHINESE_PLATFORM):
        yield from (match.span() for match in pattern.finditer(view.text))


PLACE_RULES = (
    Rule("address", has_digit, _addresses),
    Rule("postcode", has_digit, _postcodes),
    Rule("platform", has_any("magic", "cliniq", "chat", "在线", "春雨"), _platforms),
)
