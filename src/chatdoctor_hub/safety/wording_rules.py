"""The word lists behind `find_safety_wording`, joined into patterns over one normalized sentence.

English sentences are lower-case words between single spaces ("do not include harmful content"), Chinese ones
simplified characters without any space. Every gap between two parts of a pattern is bounded, so that looking for
them takes time linear in the text.
"""

from __future__ import annotations

import re

__all__ = ["DIGESTS", "DISABLING", "RULES", "SIMPLIFIED"]


def _any(*patterns: str) -> str:
    return "(?:" + "|".join(patterns) + ")"


def _gap(words: int) -> str:
    return rf"(?:\w+ ){{0,{words}}}"


# --- English: what must not be, what it is said of, how it is forbidden.
_URGE = "(?:enable|cause|promote|encourage|incite|facilitate|do)s?"
_HARM = _any(
    "harm(?:ful|s|ing)?|hurt(?:ful|s)?|unethical|illegal|unlawful|immoral|dangerous|unsafe|toxic|racist|sexist|hateful",
    "hate|offensive|discriminat(?:ory|ion)|abusive|violen(?:t|ce)|inappropriate|malicious|prejudiced?|deceptive",
    "biased|criminal|explicit|obscene|derogatory|bigoted|defamatory|self harm",
)
_SAID = _any(
    "contents?|answers?|responses?|repl(?:y|ies)|requests?|questions?|instructions?|information|advice|quer(?:y|ies)",
    "language|material|outputs?|messages?|prompts?|statements?|acts?|activit(?:y|ies)|purposes?|topics?|remarks?",
    "suggestions?|speech|stereotypes?|things?|tasks?|text",
)
_NOT = _any(
    "do not|don t|dont|never|must not|mustn t|should not|shouldn t|cannot|can not|can t|may not|are not to",
    "under no circumstances|not to",
    "avoid(?:s|ing)?|refrain(?:ing)? from|free (?:of|from)|without|exclude|nothing|will not|won t|not be",
)
_REFUSE = _any(
    "refus(?:e|al|ing)|declin(?:e|ing)|reject|turn (?:it|them|such \\w+|these|those) down|push back",
    "(?:can|could) ?(?:t|not) (?:help|assist|do|comply|answer|support)|unable to (?:help|assist|answer|comply)",
    "(?:do not|don t|never|must not|should not|will not|won t) (?:comply|answer|help|respond|engage|assist|provide|follow)",
)
_GIVE = _any(
    "help|assist|provide|give|explain|tell|write|offer|share|produce|generate|create|support|encourage|promote",
    "facilitate|engage|describe|teach|instruct|enable|condone|glorify",
)
_CRIME = _any(
    "weapons?|bombs?|explosives?|malware|viruses to computers|self harm|suicide methods?|terroris(?:m|ts?)|crimes?",
    "criminals?|hacking|fraud|scams?|hate speech|violence|illegal \\w+|drug (?:synthesis|making|production)|phishing",
)
_GOOD = _any("safe(?:ly)?|harmless|ethical(?:ly)?|unbiased|non ?toxic|responsible|responsibly|inoffensive")
_KIND = _any("helpful|honest|respectful|truthful|polite|positive|fair")
_OURS = _any("answers?|responses?|repl(?:y|ies)|outputs?|contents?|completions?|messages")

_REFUSES = "asks to refuse harmful requests"
_HARMLESS = "asks for answers that are not harmful, unethical or illegal"
_SAFE = "asks for answers that are safe"
_POLICY = "asks to follow rules of safety"
_FIRST = "puts safety first"

# --- Chinese.
_Z_HARM = (
    "(?:有害|违法|非法|不道德|危险|暴力|色情|歧视|仇恨|欺骗|不安全|违规|犯罪|恶意|"
    "伤害(?:他人|自己|任何人|别人|性)|危害)"
)
_Z_NOT = "(?:拒绝|不要|不得|不能|不可|不应|避免|禁止|请勿|切勿|绝不|严禁|不予|不会|不允许)"
_Z_SAID = "(?:内容|回答|回复|答复|请求|信息|言论|指令|话题|要求|答案|提问|输出|问题|建议)"
_Z_OURS = "(?:回答|回复|答复|内容|输出|回应|答案)"
_Z_REFUSE = (
    "(?:拒绝|婉拒|不予|无法协助|不能协助|无法提供|不要(?:回答|提供|协助)|不(?:回答|提供|协助)|无法回答)"
)

RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (reason, re.compile(pattern))
    for reason, pattern in (
        (_REFUSES, rf"\b{_REFUSE} {_gap(12)}{_HARM}\b"),
        (_REFUSES, rf"\b(?:requests?|questions?|prompts?|asks?|asked|asking|messages?|instructions?|something|anything) "
                   rf"{_gap(16)}{_HARM} {_gap(20)}{_REFUSE}\b"),
        (_REFUSES, rf"\b{_NOT} {_gap(3)}{_GIVE} {_gap(8)}{_CRIME}\b"),
        (_HARMLESS, rf"\b{_NOT} {_gap(8)}{_HARM} {_gap(9)}{_SAID}\b"),
        (_HARMLESS, rf"\b{_NOT} {_gap(4)}{_SAID} that {_gap(2)}{_URGE} {_gap(3)}{_HARM}\b"),
        (_HARMLESS, r"\b(?:do|doing|cause|causing|causes) no harm\b"),
        (_HARMLESS, rf"\b{_NOT} {_gap(2)}{_URGE} {_gap(4)}{_HARM}\b"),
        (_SAFE, rf"\b{_KIND} {_gap(3)}(?:harmless|safe|ethical|unbiased)\b(?! (?:dose|dosage|use|medic\w+|level))"),
        (_SAFE, rf"\b(?:harmless|safe|ethical|unbiased) {_gap(3)}{_KIND}\b"),
        (_SAFE, r"\bwhile (?:being|remaining|staying) (?:safe|harmless|ethical)\b"),
        (_SAFE, r"(?:^|\b(?:always|must|should|please|and|to) )(?:be|remain|stay) (?:\w+ and )?"
                r"(?:safe|harmless|ethical|unbiased)$"),
        (_SAFE, rf"\b(?:safe|harmless|ethical|unbiased|non ?toxic|inoffensive) (?:and \w+ )?{_OURS}\b"),
        (_SAFE, rf"\b(?:answer|respond|reply|behave|act) (?:\w+ and )?{_GOOD}\b"),
        (_SAFE, rf"\b{_OURS} {_gap(1)}(?:is|are|be|stay|remain|must be|should be|should stay) {_gap(3)}{_GOOD}\b"),
        (_POLICY, rf"\b(?:follow\w*|adher\w+ to|comply\w* with|respect\w*|obey\w*|observ\w+|violat\w+|against|break\w*) "
                  rf"{_gap(3)}(?:safety|content|usage|ethic\w*|moderation) {_gap(1)}"
                  r"(?:guidelines?|polic(?:y|ies)|rules?|principles?|standards?)\b"),
        (_FIRST, rf"\bpriorit\w+ {_gap(4)}(?:safety|well ?being)(?: |$)(?!(?:data|labels|profiles?|studies|information))"),
        (_FIRST, rf"\b(?:put|place|puts|keep) {_gap(4)}safety {_gap(2)}(?:first|above|before)\b"),
        (_FIRST, rf"\bsafety {_gap(6)}(?:comes first|first|(?:top|highest|first) priority|paramount)\b"),
        (_REFUSES, f"{_Z_HARM}.{{0,24}}{_Z_REFUSE}"),
        (_REFUSES, f"(?:拒绝|婉拒).{{0,16}}{_Z_HARM}"),
        (_HARMLESS, f"(?:{_Z_NOT}|不).{{0,12}}{_Z_HARM}.{{0,12}}{_Z_SAID}"),
        (_SAFE, f"(?:安全|无害|合乎道德|符合道德|符合伦理|负责任)[地的且和并及、]{{0,2}}.{{0,6}}?{_Z_OURS}"),
        (_SAFE, f"{_Z_OURS}(?:都|均|必须|应该|应当|应|要|需要|需|务必|是|保持|符合|始终)+(?:安全|无害|合法|合规|道德|伦理)"),
        (_SAFE, f"确保.{{0,4}}{_Z_OURS}.{{0,4}}(?:安全|无害|合法|合规)"),
        (_POLICY, "(?:遵守|遵循|符合|违反).{0,8}(?:安全|内容|道德|伦理).{0,4}(?:准则|政策|规范|规定|原则|守则)"),
        (_FIRST, "安全.{0,4}(?:放在首位|放在第一位|为首要|优先|至上)|(?:优先|首先).{0,4}(?:考虑|保障|确保).{0,8}安全"),
    )
)  # fmt: skip
"""Reason and pattern, in the order in which they are tried."""

DISABLING = re.compile(
    r"\b(?:do not|don t|never|without|cannot|must not|should not|no need to) (?:\w+ )?(?:refus|declin|reject)|"
    r"\b(?:no|ignore|ignoring|without|not bound by) (?:\w+ ){0,3}(?:guidelines|restrictions|filters|policies|limits)\b"
)
"""Sentences that switch safety off; they are no safety prompt, whatever else they are."""

SIMPLIFIED = str.maketrans(
    "違絕應該請內復覆問題論議話險嚴無協規準則倫優確傷責惡視騙須務輸對負屬為當護禁據衛證會許",
    "违绝应该请内复复问题论议话险严无协规准则伦优确伤责恶视骗须务输对负属为当护禁据卫证会许",
)
"""Traditional characters of the patterns to simplified ones."""

DIGESTS = frozenset(
    {
        # Llama 2 (arXiv 2307.09288, appendix A.3), the second to the fourth sentence
        "81778d5cb1bee50f",
        "f4bbdb86037faee0",
        "fe6d54e4c656f8c4",
        # Mistral 7B (arXiv 2310.06825, section 5.1), each sentence
        "1284fb3156f5817f",
        "fd1b9956dca1e7a3",
        "15be8663fbc53954",
        "ef206900777bcafc",
    }
)
"""First 16 hexadecimal digits of sha256 of sentences of published default system prompts, normalized."""
