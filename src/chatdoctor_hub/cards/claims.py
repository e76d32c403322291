"""What a card must not hold: places left to fill in, and claims that it diagnoses or complies."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Finding", "find_claims", "find_placeholders", "sections_of"]

_PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|TBA|FIXME|XXX)\b|(?i:\[\s*(?:more\s+information\s+needed|insert\b[^\]]*|your\b[^\]]*"
    r"|to\s+be\s+(?:done|added)[^\]]*)\])|\{\{[^}]*\}\}|<\s*(?:your|insert)\b[^>]*>"
    r"|(?i:lorem\s+ipsum|coming\s+soon)"
)
_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,}).*?^[ ]{0,3}\1[ \t]*$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)

_COMPLIANCE = re.compile(
    r"""(?xi)
    \bCE[\s-]*(?:mark(?:ed|ing)?|certifi(?:ed|cation|cate)|conform\w*|approved|label\w*)\b
    |\bFDA[\s-]*(?:\d+\(k\)[\s-]*)?(?:approv\w+|clear\w+|certif\w+|authori[sz]\w+|registered)\b
    |\b(?:approved|cleared|certified|authori[sz]ed)\s+by\s+the\s+(?:FDA|EMA|MHRA|BfArM)\b
    |\b(?:certified|approved|registered|regulated|cleared|compliant|class\s+(?:I{1,3}[ab]?|[123]))\s+(?:as\s+)?(?:an?\s+)?medical[\s-]+(?:device|product)s?\b
    |\bmedical[\s-]+device[\s-]+(?:complian\w+|certif\w+|approv\w+|regulation\s+complian\w+)\b
    |\b(?:is|as|are|being)\s+(?:now\s+)?an?\s+medical\s+device\b
    |\b(?:MDR|IVDR|HIPAA|GDPR|ISO\s*13485|IEC\s*62304|AI\s+Act)[\s-]*(?:complian\w+|certif\w+|conform\w*|approved|ready)\b
    |\b(?:complies|comply|complying|compliant|conforms?|in\s+(?:full\s+)?compliance)\s+(?:fully\s+)?(?:with|to)\s+(?:the\s+)?(?:EU\s+)?
        (?:MDR|IVDR|HIPAA|GDPR|FDA|ISO\s*13485|IEC\s*62304|AI\s+Act|medical[\s-]+device\w*)\b
    |\bclinically[\s-]+(?:validated|proven|approved|certified|tested)\b
    |(?:经过?|获得?|通过).{0,6}(?:医疗器械|FDA|CE|药监).{0,6}(?:认证|批准|注册)
    """
)
_DIAGNOSIS = re.compile(
    r"""(?xi)
    \b(?:can|could|will|may|able\s+to|used\s+to|helps?\s+(?:you\s+)?(?:to\s+)?|to|reliably|accurately|and|it|model|which|that)\s+
        (?:\w+ly\s+)?(?:self-)?diagnoses?\b
    |\bdiagnoses\s+(?!of\b|were\b|are\b|in\b|from\b|and\b)(?:\w+)
    |\b(?:for|of|by|in)\s+(?:reliabl[ey]\s+|automatic(?:ally)?\s+|accurate(?:ly)?\s+|self-)?diagnosing\b
    |\b(?:gives?|provides?|offers?|makes?|delivers?|returns?|produces?|states?|generates?)\s+(?:you\s+)?(?:an?\s+|the\s+)?
        (?:[\w-]+\s+){0,2}diagnos[ei]s\b
    |\b(?:suitable|intended|approved|fit|safe|ready|designed|meant|useful|recommended)\s+(?:to\s+be\s+used\s+)?for\s+(?:the\s+)?
        (?:[\w-]+\s+){0,2}(?:diagnos(?:is|es|ing|tics?)|clinical\s+(?:use|decisions?|practice|care)|patient\s+care|triage|treatment)\b
    |\bdiagnostic\s+(?:tool|device|aid|system|software|assistant|accuracy|support|product|ai)\b
    |\b(?:replaces?|substitutes?(?:\s+for)?|instead\s+of|as\s+good\s+as|better\s+than)\s+(?:an?\s+|your\s+|the\s+)?(?:\w+\s+)?
        (?:doctors?|physicians?|clinicians?)\b
    |\b(?:finds?\s+out|finding\s+out|learns?|discovers?|knows?|sees?|tells?\s+(?:you|patients|them)|shows?\s+you|determines?
        |identif(?:y|ies)|detects?|recogni[sz]es?|says)\s+(?:\w+ly\s+)?(?:
        (?:what|which)\s+(?:\w+\s+){0,2}?(?:illness|disease|sickness|condition|disorder)(?:e?s)?\s+(?:\w+\s+)?
            (?:you|he|she|they|patients?|people|somebody|someone)\b
        |what\s+(?:you|they|patients?|people)\s+(?:have\s+got|suffers?\s+from|(?:are|is)\s+(?:suffering|ill|sick)\b)
        |what(?:'s|\s+is)\s+wrong\s+with\s+(?:you|them|patients?|people|somebody|someone)\b
        |(?:your|their|(?:a\s+|the\s+)?patient(?:'?s'?)?)\s+(?:\w+\s+)?(?:illness|disease|sickness|condition|disorder)(?:e?s)?\b)
    |(?:可以|能够|能|可|用于|适用于|自动)(?:\w{0,4})诊断
    """
)
_NEGATION = re.compile(
    r"(?i)\b(?:not(?!\s+(?:only|just|merely))|no(?!\s+doubt)|never(?!\s+(?:fails?|wrong))|nor|neither|none|cannot|can't|"
    r"isn't|aren't|doesn't|don't|won't|mustn't|shouldn't|hasn't|haven't|wasn't|without|nothing|nobody|non|forbid\w*|"
    r"out\s+of\s+scope|unsuitable|prohibited|avoid|refrain|refuses?)\b|不|非|未|没有|禁止|勿"
)
_CLAUSE = re.compile(
    r"(?i)[.!?;](?:\s|$)|[。！？；]|,?\s\b(?:but|however|although|though|yet|whereas)\b|\n\s*\n|^\s*[-*+|#]\s",
    re.MULTILINE,
)
_ITEM = re.compile(r"[ \t]*[-*+][ \t]")
_OF_WHAT_IT_IS_NOT = re.compile(r"(?i)out.of.scope|limit|misuse|not (?:for|to)|risk|safety|prompt|warning")


class Finding(NamedTuple):
    """Words that must not stand there.

    Args:
        kind: "a placeholder", "a claim of diagnosis" or "a claim of compliance".
        words: that were found.
        section: the heading that they stand under, "" above the first.
        line: from 1.
    """

    kind: str
    words: str
    section: str
    line: int


def find_placeholders(text: str) -> list[Finding]:
    """Places that somebody left to be filled in; code is not looked at."""
    text = _without_code(text)
    return [_finding("a placeholder", text, match) for match in _PLACEHOLDER.finditer(text)]


def find_claims(text: str) -> list[Finding]:
    """Claims that a model or data set diagnoses, or complies with the rules for medical devices.

    A denial is none ("not CE-marked"), and under headings such as "Out of scope" the uses that are named are
    meant as warnings. A rule on words, for English and some Chinese: it finds what is said plainly.
    """
    text = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), _without_code(text))
    found = []
    for kind, pattern in (("a claim of compliance", _COMPLIANCE), ("a claim of diagnosis", _DIAGNOSIS)):
        for match in pattern.finditer(text):
            finding = _finding(kind, text, match)
            warned = kind == "a claim of diagnosis" and _OF_WHAT_IT_IS_NOT.search(finding.section)
            if not warned and not _is_denied(text, match):
                found.append(finding)
    return sorted(found, key=lambda finding: finding.line)


def sections_of(text: str) -> dict[str, str]:
    """Heading -> what stands under it, headings of a lower rank included; comments and code fences kept out."""
    bare = _COMMENT.sub("", _without_code(text))
    headings = list(_HEADING.finditer(bare))
    found: dict[str, str] = {}
    for number, heading in enumerate(headings):
        ends = [other.start() for other in headings[number + 1 :] if len(other[1]) <= len(heading[1])]
        found[heading[2].strip()] = bare[heading.end() : ends[0] if ends else len(bare)].strip()
    return found


def _finding(kind: str, text: str, match: re.Match[str]) -> Finding:
    above = [heading[2] for heading in _HEADING.finditer(text, 0, match.start())]
    words = " ".join(match[0].split())
    return Finding(kind, words, above[-1] if above else "", text.count("\n", 0, match.start()) + 1)


def _is_denied(text: str, match: re.Match[str]) -> bool:
    """Whether the clause up to the match says no, or the line that leads into a list that it stands in."""
    start = max((cut.end() for cut in _CLAUSE.finditer(text, 0, match.start())), default=0)
    if _NEGATION.search(text, start, match.end()):
        return True
    lines = text[: match.start()].split("\n")
    if not _ITEM.match(lines[-1] + text[match.start() :].split("\n", 1)[0]):
        return False
    while lines and (not lines[-1].strip() or lines[-1][:1].isspace() or _ITEM.match(lines[-1])):
        lines.pop()
    return bool(lines and lines[-1].rstrip().endswith(":") and _NEGATION.search(lines[-1]))


def _without_code(text: str) -> str:
    """The same lines, with nothing in those of code."""
    return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
