"""The word lists behind `find_safety_wording`: patterns over one lower-case English sentence.

A sentence that holds none of the `CUES` is not looked at further; one that is `SPARED` (a task about safety, or
words that switch safety off) is not either. Every gap in a pattern is bounded, so that time is linear.
"""

from __future__ import annotations

import re

__all__ = ["CUES", "ENGLISH", "FORBID", "POLICY", "REFUSE", "SAFE", "SAFETY_FIRST", "SPARED"]


def _any(*patterns: str) -> str:
    return "(?:" + "|".join(patterns) + ")"


def _once(name: str, pattern: str) -> str:
    """An atomic group (Python 3.11 writes (?>…)): its first match stands, so that gaps do not multiply."""
    return f"(?=(?P<{name}>{pattern}))(?P={name})"


# Reasons, for `wording_chinese` too.
REFUSE = "asks to refuse harmful requests"
FORBID = "asks for answers that are not harmful, unethical or illegal"
SAFE = "asks for safe or harmless answers"
SAFETY_FIRST = "puts safety first"
POLICY = "asks to follow safety rules or a content policy"

# --- What is harmful, of answers and requests.
_BAD = (
    "harmful hurtful unsafe dangerous illegal unlawful illicit criminal unethical immoral inappropriate offensive "
    "toxic hateful racist sexist violent abusive malicious discriminatory defamatory derogatory insulting "
    "demeaning obscene pornographic sexual explicit profane prejudiced biased damaging cruel objectionable "
    "disallowed prohibited hazardous destructive nefarious"
)
_ADJECTIVE = rf"\b{_any(*_BAD.split())}\b"
_CRIME = (
    "weapon weapons bomb bombs explosive explosives malware ransomware crime crimes violence slurs pornography "
    "terrorism fraud scam scams hacking phishing self-harm discrimination hatred racism sexism cyberattacks "
    "illegality wrongdoing harassment bigotry"
)
_NOUN = rf"\b{_any(*_CRIME.split(), 'hate speech', 'stolen data', 'against the law', 'break(?:s|ing)? the law')}\b"
_PEOPLE = _any(
    "others?|people|person|anyone|anybody|someone|somebody|humans?|users?|animals|children|themselves|society|them"
)
_HURT = rf"\b(?:harm|hurt|injure|endanger|injury to|harming|hurting|endangering|harms?|hurts) {_PEOPLE}\b"
# "Dangerous side effects", "toxic doses": the content of medicine, not of a policy.
_MEDICINE = (
    r"(?! (?:\w+ ){0,2}(?:effects?|interactions?|reactions?|doses?|dosages?|dosing|medicines?|medications?|drugs?"
    r"|combinations?|remed(?:y|ies)|symptoms?|signs?|habits?|substances?|chemicals?|levels?|treatments?"
    r"|therap(?:y|ies)|exposures?|products?|plants?|foods?|use|disease|diseases|complications?|conditions?"
    r"|outcomes?|waste|animals?|pathogens?|bacteria|partners?|health|function|findings?|arrhythmias?)\b)"
)
_CONTENT = (
    r"(?:requests?|questions?|content|information|instructions?|prompts?|quer(?:y|ies)|activit(?:y|ies)|acts?|topics?"
    r"|materials?|language|speech|answers?|responses?|repl(?:y|ies)|outputs?|texts?|messages?|things?|code|statements?"
    r"|remarks?|comments?|tasks?|actions?|purposes?|ideas|subjects?|words|jokes|demands?|matters?)\b(?! (?:of|by|from) the )"
)
_GAP = r"[^.]"
_BAD_CONTENT = (
    rf"{_ADJECTIVE}{_MEDICINE}(?:(?:, ?(?:and |or |nor )?| (?:and|or|nor) |/)(?:otherwise )?[a-z-]+)"
    rf"{{0,8}},? (?:[a-z-]+ )?{_CONTENT}"
)
_SOMETHING = (
    r"\b(?:anything|something|everything|nothing|things|content|requests?|questions?|answers?|prompts?|quer(?:y|ies)"
    r"|materials?|instructions?|whatever|tasks?|texts?|language|jokes)\b"
)
_BAD_ADVICE = r"\b(?:harmful|illegal|unlawful|unethical|criminal) advice\b"
_BAD_ANYHOW = _any(rf"{_ADJECTIVE}{_MEDICINE}", _NOUN, _HURT)

# --- Telling the model to do something: at the start of a clause, not "how a nurse can refuse".
_MODAL = r"(?:must|should|will|shall|have to|need to|are to|may|can|ought to|has to|is to|always|would)"
_YOU = r"\b(?:you|it|assistant|model|bot|chatbot|ai|doctor)"
_MANNER = r"(?:(?:\w+ly|always|just|to|please|then|instead|simply|in a \w+ way|first)\s+){0,3}"
_START = rf"(?:^|[,;:(-]\s*|\b(?:and|or|but|then|please|want you to)\s+|{_YOU} (?:{_MODAL}(?: {_MODAL})?)\s+){_MANNER}"
_DECLINE = (
    r"(?:refuses?|declines?(?! in\b)|rejects?|deny|den(?:ies)|says? no|turns? (?:\w+ ){0,3}?down|push back on"
    r"|shut down)\b"
)
_NOT = (
    r"(?:\b(?:do not|don't|never|must not|mustn't|should not|shouldn't|cannot|can't|can not|may not|will not|won't"
    r"|not allowed to|not permitted to|avoid|refrain from|forbidden to|prohibited from|free of|free from"
    r"|shall not|not|without|no (?:answer|reply|response|output|text)s?|ought not to|does not|doesn't)\b)"
)
_HELP = (
    r"(?:answer\w*|respond\w*|reply\w*|provid\w+|giv(?:e|es|ing)|generat\w+|produc(?:e|es|ing)|creat(?:e|es|ing)"
    r"|writ(?:e|es|ing)|compos(?:e|es|ing)|assist\w*|help\w*|aid(?:s|ing)?|support\w*|engag\w+|compl(?:y|ies|ying)"
    r"|cooperat\w+|discuss\w*|shar(?:e|es|ing)|hand(?:s|ing)? out|offer\w*|promot\w+|encourag\w+|facilitat\w+"
    r"|includ\w+|contain\w*|teach\w*|explain\w*|output\w*|us(?:e|es|ing)|say\w*|mak(?:e|es|ing)|instruct\w*"
    r"|participat\w+|tak(?:e|es|ing) part|talk(?:s|ing)? about|carry(?:ing)? out|execut\w+|fulfil\w*|return\w*"
    r"|display\w*|spread\w*|serv(?:e|es|ing)|do|doing|advis\w+|endors\w+|condon\w+|glorif\w+|normaliz\w+)\b"
)
_ONWARD = (
    r"(?:(?!\b(?:avoid|hesitat|refus|declin|refrain|forget|fail|shy|skip|omit|leave out|unless|until|but"
    r"|more than)\w*)[^.;]){0,%d}?"
)
_CANNOT = (
    rf"(?:{_START}{_DECLINE}|(?<!never )(?<!not )(?<!don't )\b(?:refuse|decline|reject|turn (?:\w+ ){{0,2}}down|say no)\b"
    r"|\b(?:cannot|can't|can not|unable to|not able to|will not|won't|do not|don't|must not|should not|never)\b"
    r"[^.]{0,12}?\b(?:help|assist|answer|comply|respond|support|provide|fulfil|engage|continue|do (?:it|so|that|this))\b)"
)
_ASKED = (
    r"\b(?:requests?|questions?|prompts?|users?|someone|somebody|anyone|anybody|asks?|asked|instructions?|topics?"
    r"|anything|something|quer(?:y|ies)|messages?|conversation|people)\b"
)

# --- What is safe, of answers.
_GOOD = r"(?:safe|harmless|ethical|unbiased(?! estimat)|non-?toxic|inoffensive|lawful|bias-free)\b"
_ANSWERS = r"\b(?:answers?|responses?|repl(?:y|ies)|outputs?|content|completions?|assistance)\b"
_BEING = r"(?:must|should|have to|need to|has to|needs to|are|is|be|stay|stays|remain|remains|keep|shall)"
_POLITE = r"(?:[a-z-]+,? (?:and |but |yet )?)"
_RULES = (
    r"(?:(?<!radiation )(?<!fire )(?<!laboratory )(?<!lab )(?<!food )(?<!patient )(?<!drug )(?<!medication )"
    r"(?<!workplace )(?<!occupational )(?<!hospital )(?<!infection )(?<!medicines )(?<!blood )"
    r"\bsafety (?:guidelines?|polic(?:y|ies)|rules?|standards?|principles?|protocols?|instructions)\b"
    r"(?! (?:of|for|in) (?:the |your |our )?(?:hospital|clinic|ward|lab|pool|laboratory|who|manufacturer))"
    r"|\b(?:content|usage|acceptable use|moderation|safe use|use) polic(?:y|ies)\b"
    r"|\bethic(?:s|al) (?:guidelines?|principles?|standards?|rules?|norms)\b|\bai ethics\b)"
)
_FOLLOW = (
    r"\b(?:follow|adher\w+ to|compl(?:y|ies|iant|ying) with|obey|respect|observe|abide by|stick to|stay within|within"
    r"|in line with|according to|in accordance with|uphold|consistent with|respecting|conform to|keep to"
    r"|violat\w+|breach|break)\b"
)
_FIRST_WORDS = r"(?:first|before|above|ahead|over|top)\b"

_THEN_HELP = _once("help", rf"{_ONWARD % 30}\b{_HELP}")
_THEN_SOMETHING = _once("thing", f"{_ONWARD % 80}{_SOMETHING}")
_THEN_FREE = _once("free", r"[^.]{0,40}?\bfree (?:of|from) ")
_THEN_SAID = _once("said", rf"[^.]{{0,30}}?(?:{_ANSWERS}|\byou (?:say|write)\b)")
_THEN_ASKED = _once("asked", f"[^.]{{0,60}}?{_ASKED}")
_THEN_BAD = _once("bad", f"[^.]{{0,120}}?{_BAD_ANYHOW}")
_ONCE_BAD = _once("content", _BAD_CONTENT)

ENGLISH = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (rf"{_START}{_DECLINE}{_ONWARD % 80}{_BAD_ANYHOW}", REFUSE),
        (
            r"\b(?:if|when|whenever|should|in case|where|asked|whatever)\b"
            rf"{_THEN_ASKED}{_THEN_BAD}"
            rf"{_GAP}{{0,160}}?{_CANNOT}",
            REFUSE,
        ),
        (
            rf"(?:{_ONCE_BAD}|\b(?:requests?|questions?|prompts?|instructions) "
            rf"{_THEN_BAD})"
            rf"{_GAP}{{0,60}}?\b(?:declined|rejected|refused|denied|turned down"
            r"|not be answered|not be followed|not answered)\b",
            REFUSE,
        ),
        (rf"\bfor {_ONCE_BAD},? {_GAP}{{0,30}}?{_CANNOT}", REFUSE),
        (rf"\bwhile (?:refusing|declining|rejecting) {_GAP}{{0,60}}?{_BAD_ANYHOW}", REFUSE),
        (
            rf"{_NOT}{_THEN_HELP}"
            rf"(?:{_ONWARD % 80}(?:{_any(_BAD_CONTENT, _NOUN, _HURT, _BAD_ADVICE)})"
            rf"|{_THEN_SOMETHING}{_GAP}{{0,60}}?{_BAD_ANYHOW})",
            FORBID,
        ),
        (
            rf"{_START}(?:avoid|no) (?:\w+ ){{0,3}}(?:content|text|language|answers?|words|statements) that "
            rf"(?:is|are|may be|could be) {_ADJECTIVE}",
            FORBID,
        ),
        (
            rf"\b(?:prohibited|forbidden|disallowed|banned) (?:content|topics?|outputs?)\b{_GAP}{{0,30}}?{_BAD_ANYHOW}",
            FORBID,
        ),
        (
            rf"(?:{_START}(?:avoid|no)|\bfree (?:of|from)|\bwithout(?: any)?) (?:\w+ ){{0,2}}{_BAD_CONTENT}",
            FORBID,
        ),
        (
            rf"(?:{_ANSWERS}|\bkeep\b|\bbe\b|\bstay\b){_THEN_FREE}{_GAP}{{0,50}}?"
            rf"(?:{_NOUN}|{_ADJECTIVE}|prejudice|\bbias\b)",
            FORBID,
        ),
        (
            rf"\bnothing\b{_THEN_SAID}"
            rf"{_GAP}{{0,20}}?{_ADJECTIVE}{_MEDICINE}",
            FORBID,
        ),
        (
            rf"\bonly (?:reply|answer|help|respond|assist){_GAP}{{0,40}}?\b(?:safe|legal|ethical|harmless|lawful)\b(?! dos)",
            SAFE,
        ),
        (
            rf"\b(?:your|all|every|the|each|any|that|of) (?:\w+ )?{_ANSWERS}{_GAP}{{0,20}}?\b{_BEING} "
            rf"{_POLITE}{{0,5}}{_GOOD}",
            SAFE,
        ),
        (rf"\b{_GOOD}(?:,? (?:and |but )?[a-z-]+){{0,3}} {_ANSWERS}", SAFE),
        (rf"\bwhile (?:being|staying|remaining|keeping) {_POLITE}{{0,3}}{_GOOD}", SAFE),
        (
            rf"(?:^|[,;:] |\b(?:always|please|you (?:must|should|will)|and) )(?:be|stay|remain) {_POLITE}{{0,4}}"
            rf"{_GOOD}(?! (?:for|in|to|when|with|at|and sound|distance)\b)",
            SAFE,
        ),
        (r"\bharmless\b[^.]{0,40}\b(?:helpful|honest)\b|\b(?:helpful|honest)\b[^.]{0,40}\bharmless\b", SAFE),
        (
            rf"\b{_GOOD} (?:and [a-z]+ )?(?:(?:ai|medical|virtual|digital) )?(?:assistant|chatbot|ai|model|bot)\b",
            SAFE,
        ),
        (
            r"\b(?:respond|answer|reply|act|behave|assist)\w* (?:\w+ly,? ){0,3}(?:and )?(?:safely|ethically|harmlessly)\b",
            SAFE,
        ),
        (
            r"\b(?:helpfully|accurately|honestly|responsibly|legally|politely),? and (?:safely|ethically|harmlessly)\b",
            SAFE,
        ),
        (r"\bwhile (?:ensuring|maintaining|prioriti[sz]ing) (?:the )?(?:user )?safety\b", SAFETY_FIRST),
        (
            r"\b(?:respond|answer|reply|act|behave|assist)\w* [^.]{0,40}?"
            r"\b(?:(?:harmless|ethical|lawful|unbiased)(?: and [a-z-]+)?"
            r"|safe(?:,| and) (?:responsible|ethical|respectful|harmless|legal|lawful|honest)"
            r"|(?:responsible|respectful|legal) and safe) (?:manner|way|fashion)\b",
            SAFE,
        ),
        (
            rf"\b(?:prioriti[sz]e|put|place|value) (?:(?:the|user|users'|user's|everyone's|public|human) )?safety"
            rf"(?: of (?:the )?(?:users?|people|others))?(?: (?:and \w+ ){{0,2}}{_FIRST_WORDS}|[.,;:!]|$| and )",
            SAFETY_FIRST,
        ),
        (
            r"(?<!patient )\bsafety (?:(?:comes|goes) (?:first|above)|over helpfulness"
            r"|is (?:your|the) (?:top|first|highest|main) priority)",
            SAFETY_FIRST,
        ),
        (rf"{_FOLLOW}{_GAP}{{0,40}}?{_RULES}", POLICY),
    )
)
"""Patterns of safety wording, each with the reason to give."""

CUES = frozenset(
    (
        f"{_BAD} {_CRIME} harm hurt injure endanger harming hurting endangering harms hurts injury law hate stolen safe "
        "harmless ethical unbiased non nontoxic inoffensive lawful legal bias prejudice safety policy policies ethics "
        "ethically safely harmlessly self"
    ).split()
)
"""English words of which a sentence has at least one, or is no safety wording."""

_TASK = (
    r"(?:write|create|generate|compose|draft|produce|make|give|design|develop|construct|build|provide)"
    r"(?: (?:me|us|a|an|the|some|two|three|four|five|six|seven|ten|\d+|one|this|these|down|down a)\b)"
    r"(?! (?:safe|harmless|ethical))"
)
SPARED = re.compile(
    _any(
        r"\?[\"')\s]*$",
        r"(?:^|: )(?:please )?(?:describe|explain|list|classif\w+|rewrite|summari[sz]e|translate|suggest|name"
        r"|identify|discuss"
        r"|compare|define|analy[sz]e|evaluate|detect|label|rate|paraphrase|find|outline|imagine|edit|convert|come up"
        r"|determine|decide|judge|tell me|what|how|why|is|are|does|do you|which|who|ask|brainstorm|argue|choose|"
        r"given|predict|categori[sz]e|propose|say whether|flag|grade|count|report|reword|rephrase|invent)\b",
        rf"(?:^|: )(?:please )?{_TASK}",
        r"\b(?:never|not|don't|won't|cannot|can't|without|nor) (?:ever )?(?:refus|declin|reject|restrict|censor|filter)\w*",
        r"\b(?:ignor|disregard|bypass|forget|overrid)\w*",
        r"\b(?:there (?:are|is)|you have|has|with|without|under) no[nt]? ",
        r"\b(?:do not|don't|need not|does not|doesn't|no longer) (?:have to|need to|need|care)\b",
        r"\b(?:not bound|unfiltered|uncensored|no rules?|no limits?|no ethical)\b",
        r"\b(?:before|until) you have\b",
    )
)
"""A task about safety, a question, or words that switch safety off."""
