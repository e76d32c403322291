"""From a sentence to the stems that a search compares: stop words, light stemming, lay words.

Written for short English texts about symptoms. It reads no negation ("no fever" holds "fever") and knows
no spelling errors. Both sides of a search go through `stems`, so a stem need not be a word.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["question_stems", "stems"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# "hepatitis A" is hepatitis, and a word of its own besides: single letters are no words here.
_KIND = re.compile(r"\b(hepatitis|influenza|type|vitamin)[ -]([a-e]|\d)\b")

# Words that say nothing of an illness: the small words of English, and those of any talk with a doctor.
_SMALL_WORDS = """
a about above after again all almost along already also although always am among an and another any
anybody anyone anything are aren't around as at away be became because become been before being below
between both but by came can can't cannot come could couldn't did didn't do does doesn't doing don't
done down during each either else even ever every everything few for from further get gets getting give
go goes going gone got had hadn't has hasn't have haven't having he her here hers herself him himself
his how however i i'd i'll i'm i've if in into is isn't it it'll it's its itself just keep keeps kept
kind know last lately least let like little look looks lot lots made make makes making many may maybe
me might more most mostly much must my myself near need never new next no nor not nothing now of off
ok okay on once one ones only or other others our ours ourselves out over own per perhaps please put
quite rather really same seem seems several she should shouldn't since so some somehow someone
something sometimes soon still such sure take taken takes taking tell than thank thanks that that's the
their theirs them themselves then there there's these they they're thing things think this those though
through till to today together too toward towards tried try trying two under until up upon us use used
using usual usually very want was wasn't way we we're well went were weren't what what's when whenever
where whether which while who whom whose why will with within without won't would wouldn't yes yet you
you'd you'll you're you've your yours yourself

advice advise ago bit bothering call called caused causes causing cause concern concerned condition day
days diagnose diagnosed diagnosis disease diseases disorder disorders doc doctor doctors dr experience
experienced experiencing extremely feel feeling feels felt find found happen happening happens hello
help helps hey hi issue issues matter mean medical medication medications medicine medicines month
months notice noticed noticing patient possible problem problems reason recently recommend seriously
start started starting suffer suffering suggest symptom symptoms syndrome test tests time times told
treat treatment treatments unspecified weird wondering week weeks wrong year years yesterday
"""
_STOP_WORDS = frozenset(_SMALL_WORDS.split())

# What patients say, what clinicians say and what is counted as the same; the first word stands for all.
# Only these very forms: by its stem, "runny" would be "running" as well.
_SAME = (
    "abdomen abdominal abdominals bellies belly stomach stomachs tummy",
    "allergy allergic allergies",
    "anger angry temper tempers",
    "anus anal rectal rectum",
    "anxiety anxieties anxious anxiously nervous nervousness panicky",
    "blood bled bleed bleeding bleeds bloody",
    "breath breaths breathe breathed breathes breathing breathless breathlessness dyspnea dyspnoea",
    "coryza rhinorrhea rhinorrhoea runny",
    "depression depressed depressing depressive hopeless hopelessness sad sadness",
    "difficulty difficult difficulties struggle struggles struggling trouble troubles",
    "diminished decreased reduced",
    "dizzy dizziness giddiness giddy lightheaded lightheadedness vertigo woozy",
    "faint fainted fainting faints syncope",
    "fast quick quickly racing rapid rapidly",
    "fatigue drained exhausted exhaustion fatigued lethargic lethargy tired tiredness",
    "fever febrile feverish fevers pyrexia temperature",
    "flatulence gas gassy",
    "frequent frequency frequently often",
    "insomnia sleepless sleeplessness",
    "hearing deaf deafness hear heard hears",
    "itch itched itches itching itchiness itchy pruritus",
    "loss lose loses losing lost",
    "lump bump bumps lumps mass masses",
    "memory forget forgetful forgetfulness forgetting forgot memories remember remembering",
    "menstruation menstrual menstruate menstruating period periods",
    "nausea nauseated nauseous queasy",
    "nosebleed epistaxis nosebleeds",
    "numb numbness paraesthesia paresthesia paresthesias tingle tingles tingling",
    "pain ache ached aches aching achy discomfort hurt hurting hurts painful pains soreness",
    "pale paleness pallor",
    "palpitations fluttering palpitation pounding",
    "penis penile",
    "pimples acne breakout breakouts pimple zits",
    "red reddened redness reddish",
    "ringing buzzing tinnitus",
    "scaly flakes flaky peeling scale scales scaliness",
    "seizure convulsion convulsions fits seizures",
    "sex intercourse sexual sexually",
    "sleep asleep sleeping slept",
    "speaking speak speech talk talking",
    "sputum mucus phlegm",
    "stool bowel bowels faeces feces poo poop pooing pooping stools",
    "swelling edema oedema puffiness puffy swell swells swollen",
    "tears lacrimation tearing watering watery",
    "testicle scrotal scrotum testes testicles testicular",
    "thirst polydipsia thirsty",
    "urine pee peed peeing pees urinary urinate urinated urinates urinating urination wee weeing",
    "vision blurred blurry eyesight seeing sight visual",
    "voice hoarse hoarseness",
    "vomit barf emesis puke puked puking vomited vomiting vomits",
    "yellow jaundice yellowing yellowish",
)
_LAY = {word: group.split()[0] for group in _SAME for word in group.split()}

# Turns of phrase of patients, and the words of a symptom list for them. They widen a question only: what
# is said of a disease is taken at its word.
_TOILET = r"(?:toilet|bathroom|loo|washroom|restroom)"
_PASSING = r"(?:pee|wee|urinat|pass(?:ing)? (?:water|urine))"
_PHRASES = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (rf"\b(?:burn|sting)[^.;,?!]{{0,24}}\b{_PASSING}", "painful urination"),
        (rf"\b{_PASSING}\w*[^.;,?!]{{0,24}}\b(?:burn|sting)", "painful urination"),
        (rf"\b(?:run|rush|dash|go|trip)\w* (?:to|for) the {_TOILET}", "frequent urination"),
        (
            rf"\b{_PASSING}\w*(?: so| too| very)* (?:a lot|all the time|constantly|much|every)",
            "frequent urination polyuria",
        ),
        (r"\b(?:throw(?:ing|s|n)?|threw)(?: it| everything)? up\b|\bbeing sick\b", "vomiting"),
        (r"\bsick to my stomach\b", "nausea"),
        (r"\b(?:pass|black)(?:ed|ing|es)? out\b", "fainting"),
        (r"\bpins and needles\b", "numbness"),
        (r"\bheart\b[^.;,?!]{0,12}\b(?:rac|pound|skip|flutter|thump)", "palpitations irregular heartbeat"),
        (r"\b(?:room|everything|head)\b[^.;,?!]{0,16}\bspin", "dizziness"),
        (
            r"\bhead (?:hurts?|aches?|is (?:pounding|throbbing|killing))|\bpain in (?:my|the) head\b",
            "headache",
        ),
        (
            r"\b(?:can't|cannot|can not|couldn't|not|difficult\w*|hard|trouble|unable)\b[^.;,?!]{0,16}\ba?sleep",
            "insomnia",
        ),
        (r"\bthroat (?:hurts?|aches?)\b", "sore throat"),
        (r"\bloose (?:stools?|motions?|bowels?)\b|\bthe runs\b", "diarrhea"),
        (r"\b(?:hard stools?|(?:can't|cannot) (?:poop?|pass (?:a )?stools?))\b", "constipation"),
        (r"\bhair\b[^.;,?!]{0,16}\b(?:fall|thin|com)\w*", "hair loss"),
    )
)

# (ending, what takes its place, letters that must be left), the first that fits.
_ENDINGS = (
    ("iness", "y", 3),
    ("ness", "", 3),
    ("ingly", "", 3),
    ("edly", "", 3),
    ("fully", "", 4),
    ("ful", "", 4),
    ("ings", "", 3),
    ("ing", "", 3),
    ("ied", "y", 2),
    ("ies", "y", 2),
    ("eed", "eed", 1),
    ("ed", "", 3),
    ("sses", "ss", 2),
    ("ees", "ee", 1),
    ("es", "", 3),
    ("ss", "ss", 1),
    ("us", "us", 1),
    ("is", "is", 1),
    ("s", "", 3),
    ("ency", "ent", 3),
    ("ancy", "ant", 3),
    ("ly", "", 4),
    ("ous", "", 4),
    ("ive", "", 5),
)


def stems(text: str) -> list[str]:
    """The stems of the words that carry meaning, in the order of the text, repetitions kept."""
    return _stems(_plain(text))


def question_stems(text: str) -> list[str]:
    """The stems of a patient's words, and after them those of the symptoms that the words paraphrase."""
    plain = _plain(text)
    meant = [words for pattern, words in _PHRASES if pattern.search(plain)]
    return _stems(plain) + [stem for words in meant for stem in _stems(words)]


def _plain(text: str) -> str:
    """Small letters without accents, one kind of apostrophe, and a word for each kind of hepatitis."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("\u2019", "'"))
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _KIND.sub(r"\1 \1\2", plain)


def _stems(plain: str) -> list[str]:
    found = (word for word in _WORD.findall(plain) if word not in _STOP_WORDS)
    return [stem for word in found if len(stem := _canonical(word.removesuffix("'s"))) > 1]


@lru_cache(maxsize=20_000)
def _canonical(word: str) -> str:
    return _stem(_LAY.get(word, word))


def _stem(word: str) -> str:
    """The word without its inflection and common endings; British spellings become American."""
    if len(word) > 4:
        word = word.replace("ae", "e").replace("oe", "e").replace("our", "or")
    for ending, instead, left in _ENDINGS:
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= left and re.search("[aeiouy]", rest + instead):
            word = rest + instead
            break
    if word.endswith(("sion", "tion")) and len(word) > 6:
        word = word[:-3]
    if len(word) > 4 and word[-1] in "ye" and not word.endswith("ee"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word
