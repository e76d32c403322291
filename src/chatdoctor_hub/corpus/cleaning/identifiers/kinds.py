"""What de-identification claims to find: `KINDS`, and `Finding`, one place where it found something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chatdoctor_hub.errors import ConfigError

__all__ = ["KINDS", "Finding", "Kind", "chosen_kinds"]


@dataclass(frozen=True, order=True)
class Finding:
    """A place in a text; never the words that stand there.

    Args:
        kind: an id of `KINDS`.
        start: of the place in the text that was given, in characters, from 0.
        end: where it ends, exclusive.
        turn: of a dialogue, from 0; 0 for a single text.
    """

    kind: str
    start: int
    end: int
    turn: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind of identifier, and what is claimed of it.

    Args:
        id: in findings, counts and settings.
        label: in placeholders: `[LABEL 1]`. Kinds of names share one, so that a person keeps one placeholder.
        covers: what is found, one sentence.
        leaves: what of its sort is not found or not changed, one sentence.
    """

    id: str
    label: str
    covers: str
    leaves: str


# In the order of precedence: where two overlap, the one that stands first here is kept.
_KINDS = (
    Kind(
        "email",
        "EMAIL",
        "E-mail addresses with a domain of a public suffix.",
        "Addresses that are spelt out (\"name at mail dot com\") or hold letters outside ASCII.",
    ),
    Kind(
        "url",
        "URL",
        "Links that start with http://, https:// or www., and bare names under .com, .org, .net, .edu, .gov, "
        ".co.uk, .co.in or .nhs.uk.",
        "Bare names under other endings: a full stop without a space looks the same.",
    ),
    Kind(
        "handle",
        "HANDLE",
        "Names of accounts right after the service (Skype, WhatsApp, Telegram, Instagram, Twitter, Facebook, "
        "Snapchat, WeChat, QQ), and @names with a digit or underscore.",
        "Other @names, and accounts that are named without the service.",
    ),
    Kind(
        "chinese_id",
        "ID",
        "Chinese identity numbers of 18 characters with a valid date and check digit.",
        "The older ones of 15 digits, and numbers with a typing error.",
    ),
    Kind(
        "iban",
        "IBAN",
        "International bank account numbers in capitals with valid check digits.",
        "Account numbers of other layouts.",
    ),
    Kind(
        "record_number",
        "NUMBER",
        "Numbers right after the words that announce them: record, patient, case, file, registration, "
        "admission, insurance, policy, passport, licence or account number or ID, MRN, UHID, Aadhaar, in "
        "Chinese 病历号, 住院号 and the like; with at least four digits, or three and letters.",
        "Numbers that nothing announces.",
    ),
    Kind(
        "credit_card",
        "CARD",
        "Card numbers of 12 to 17 digits with a valid check digit.",
        "Numbers with a typing error.",
    ),
    Kind(
        "us_ssn",
        "SSN",
        "US social security numbers as 3-2-4 digits with hyphens, or announced by SSN or social security.",
        "Unannounced ones without hyphens, and numbers that are never issued or known as samples.",
    ),
    Kind(
        "uk_nhs",
        "NHS",
        "UK NHS numbers with a valid check digit and \"NHS\" within the 40 characters before.",
        "Unannounced ones.",
    ),
    Kind(
        "ip_address",
        "IP",
        "IPv4 addresses, and IPv6 addresses with at least four groups.",
        "Shorter IPv6 forms.",
    ),
    Kind(
        "date",
        "DATE",
        "Dates that name a day, of birth or of anything else: in figures with a year, or with the month as a "
        "word, English or Chinese.",
        "Ages, durations, times of day, weekdays, years, and months without a day: they stay.",
    ),
    Kind(
        "phone",
        "PHONE",
        "Phone numbers with a country code, with a word for phone before them, as 3-3-4 digits with hyphens, "
        "dots or brackets, as Indian numbers of 10 digits, and Chinese mobile and area-code numbers.",
        "Short numbers, and local ones that nothing announces.",
    ),
    Kind(
        "address",
        "ADDRESS",
        "House number, capitalised street name and kind of street (\"14 Park Road\"), with a flat before it; "
        "P.O. boxes.",
        "Towns, countries, hospitals, streets without a number or in small letters, and Chinese addresses.",
    ),
    Kind(
        "postcode",
        "POSTCODE",
        "UK postcodes with their space; US ZIP codes after a town and a state, and any postcode of 5 or 6 "
        "digits after the words zip, pin code, postcode, 邮编.",
        "Unannounced postcodes of other countries.",
    ),
    Kind(
        "platform",
        "PLATFORM",
        "The names of the platforms that published corpora come from, where they stand as a name: "
        "HealthCareMagic, iCliniq, ChatDoctor, 好大夫在线, 春雨医生.",
        "Other sites, apps, clinics and hospitals.",
    ),
    Kind(
        "titled_name",
        "NAME",
        "Capitalised names after Dr, Doctor, Prof, Professor, Mr, Mrs, Ms, Miss or Nurse.",
        "Names in small letters that are not common ones, and single initials A and I.",
    ),
    Kind(
        "introduced_name",
        "NAME",
        "Names after \"my name is\" and its like (his, her, patient name), after \"I am\" or \"I'm\" before a "
        "comma and an age or a place, after \"this is\" in an opening; in Chinese after 我叫, 姓名.",
        "Names in other wordings (\"people call me …\").",
    ),
    Kind(
        "greeting_name",
        "NAME",
        "Capitalised names right after Hi, Hello, Hey, Dear, Good morning and the like, before a punctuation "
        "mark, the end of a line or, for common given names, anything.",
        "Uncommon names without a punctuation mark after them, and names that are ordinary words and not "
        "common given names.",
    ),
    Kind(
        "signature_name",
        "NAME",
        "Names at the end of a line after Regards, Sincerely, Yours and the like; at the end of the text after "
        "thanks, after a dash, or on their own where the first is a common given name.",
        "Other names alone on a line that nothing announces.",
    ),
    Kind(
        "chinese_name",
        "NAME",
        "Chinese surnames with a title (王医生, 李主任, 张大夫), and full names with one after a comma, the "
        "start or 叫, 是, 找, 由.",
        "Names without a title, and full names with one in the middle of a clause.",
    ),
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.id: kind for kind in _KINDS}
"""What is claimed, by id; free-standing names in running text, towns, hospitals and jobs are not."""


def chosen_kinds(kinds: Iterable[str] | None) -> tuple[str, ...]:
    """Ids in the order of `KINDS`; all for None.

    Raises:
        ConfigError: for an id that `KINDS` has not, or a single text in place of a list.
    """
    if kinds is None:
        return tuple(KINDS)
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    unknown = sorted({str(kind) for kind in wanted} - set(KINDS))
    if unknown or isinstance(kinds, str):
        raise ConfigError(
            f"Expected a list of kinds out of {', '.join(KINDS)}, found "
            f"{', '.join(unknown) if unknown else 'one text'}; leave them out to use all."
        )
    return tuple(kind for kind in KINDS if kind in wanted)
