"""Invented values of identifiers, nobody's but by accident: names, numbers, addresses, dates."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from chatdoctor_hub.corpus.cleaning.identifiers.numbers import is_chinese_id

__all__ = ["InventedValues"]

_TLDS = ("com", "org", "net", "co.uk", "com", "com")
_WORDS = (
    "health",
    "clinic",
    "lab",
    "care",
    "scan",
    "forum",
    "heart",
    "skin",
    "mail",
    "city",
    "north",
    "blue",
)
_STATES = ("TX", "OR", "FL", "OK", "CO", "NY", "IL")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip


class InventedValues:
    """Makes values by the name of their sort, which is the name of a `_make_` method.

    Args:
        rng: where chance comes from.
        names: pools of names by sort, a set of `planted.yaml`.
    """

    def __init__(self, rng: random.Random, names: dict[str, Any]) -> None:
        self.rng = rng
        self._data = names
        self._makers: dict[str, Callable[[], str]] = {
            name.removeprefix("_make_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("_make_")
        }

    def of(self, slot: str) -> str:
        """A value for a slot of a sentence, such as "given" or "uk_postcode"."""
        return self._makers[slot]()

    def _digits(self, n: int) -> str:
        return "".join(self.rng.choice("0123456789") for _ in range(n))

    def _pattern(self, pattern: str) -> str:
        """`#` a digit, `?` a capital, other characters as they are."""
        letters = "ABCDEFGHJKLMNPRSTUWXYZ"
        return "".join(
            self._digits(1) if char == "#" else self.rng.choice(letters) if char == "?" else char
            for char in pattern
        )

    def _make_given(self) -> str:
        return str(self.rng.choice(self._data["given"]))

    def _make_common(self) -> str:
        return self.rng.choice(("Michael", "Sarah", "Anita", "Robert", "Julia", "Sanjay", "Emma", "Omar"))

    def _make_surname(self) -> str:
        if self.rng.random() < 0.25:
            return self._make_invented()
        return str(self.rng.choice(self._data["surnames"]))

    def _make_invented(self) -> str:
        """A surname that stands in no list."""
        starts, middles = (
            ("Bra", "Del", "Kor", "Mun", "Tev", "Zal", "Fen", "Hol"),
            ("ka", "ni", "vo", "ri", "ma"),
        )
        return (
            self.rng.choice(starts)
            + self.rng.choice(middles)
            + self.rng.choice(("rdt", "ski", "nen", "shi", "lles"))
        )

    def _make_person(self) -> str:
        return f"{self._make_given()} {self._make_surname()}"

    def _make_doctor(self) -> str:
        initial = self.rng.choice("BCDGHJKLMNPRSTV")
        style = self.rng.randrange(4)
        names = (self._make_surname, self._make_person, lambda: f"{initial}. {self._make_surname()}",
                 lambda: f"{self._make_given()} {initial}. {self._make_surname()}")  # fmt: skip
        return names[style]()

    def _make_town(self) -> str:
        return str(self.rng.choice(self._data["towns"]))

    def _make_state(self) -> str:
        return self.rng.choice(_STATES)

    def _make_chinese_surname(self) -> str:
        return str(self.rng.choice(self._data["chinese_surnames"]))

    def _make_chinese_full(self) -> str:
        return self._make_chinese_surname() + str(self.rng.choice(self._data["chinese_given"]))

    def _make_email(self) -> str:
        user = self.rng.choice(("{0}.{1}", "{0}{2}", "{0}_{2}", "{0}{1}{2}")).format(
            self._plain(self._make_given()), self._plain(self._make_invented()), self._digits(2)
        )
        host = self.rng.choice(
            ("gmail.com", "yahoo.co.in", "hotmail.com", "qq.com", "nhs.net", "uni-klinik.de")
        )
        return f"{user}@{host}"

    @staticmethod
    def _plain(name: str) -> str:
        return "".join(char for char in name.lower() if char.isascii() and char.isalpha())

    def _make_url(self) -> str:
        name = "".join(self.rng.sample(_WORDS, 2)) + self.rng.choice(("", self._digits(2)))
        site = f"{name}.{self.rng.choice(_TLDS)}"
        path = self.rng.choice(("", "/", f"/results/{self._digits(5)}", f"/p?id={self._digits(4)}&v=2"))
        return self.rng.choice(("https://www.", "http://", "www.", "https://", "")) + site + path

    def _make_handle(self) -> str:
        return (
            self._plain(self._make_given())
            + self.rng.choice(("_", ".", ""))
            + self._digits(self.rng.choice((2, 3)))
        )

    def _make_chinese_id(self) -> str:
        body = f"{self.rng.choice((110105, 310104, 440305, 510107))}{self.rng.randint(1940, 2015)}"
        body += f"{self.rng.randint(1, 12):02}{self.rng.randint(1, 28):02}{self._digits(3)}"
        return next(body + check for check in "0123456789X" if is_chinese_id(body + check))

    def _make_iban(self) -> str:
        country, bank = self.rng.choice(
            (("DE", "#" * 18), ("GB", "????" + "#" * 14), ("ES", "#" * 20), ("NL", "????" + "#" * 10))
        )
        body = self._pattern(bank)
        figures = "".join(str(int(char, 36)) for char in f"{body}{country}00")
        code = f"{country}{98 - int(figures) % 97:02}{body}"
        return code if self.rng.random() < 0.5 else " ".join(code[i : i + 4] for i in range(0, len(code), 4))

    def _make_record(self) -> str:
        return self._pattern(
            self.rng.choice(
                ("########", "######", "??-######", "?#######", "##/#####", "###-###-###", "????####")
            )
        )

    def _make_digits12(self) -> str:
        return self._pattern(self.rng.choice(("9### #### ####", "8###########")))

    def _make_card(self) -> str:
        head, groups = self.rng.choice((("4", (4, 4, 4, 4)), ("52", (4, 4, 4, 4)), ("37", (4, 6, 5))))
        body = head + self._digits(sum(groups) - len(head) - 1)
        doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(body))]
        number = body + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)
        joint = self.rng.choice((" ", "-", "")) if len(groups) == 4 else ""
        return joint.join(number[sum(groups[:i]) : sum(groups[: i + 1])] for i in range(len(groups)))

    def _make_ssn(self) -> str:
        return f"{self.rng.randint(101, 665)}-{self.rng.randint(10, 99)}-{self.rng.randint(1000, 9999)}"

    def _make_nhs(self) -> str:
        while True:
            body = "9" + self._digits(8)
            check = 11 - sum(int(d) * (10 - i) for i, d in enumerate(body)) % 11
            if check != 10:
                number = body + str(check % 11)
                return self.rng.choice((number, f"{number[:3]} {number[3:6]} {number[6:]}"))

    def _make_ip(self) -> str:
        if self.rng.random() < 0.7:
            return ".".join(str(self.rng.randint(1, 254)) for _ in range(4))
        groups = [f"{self.rng.randint(1, 0xFFFF):x}" for _ in range(8)]
        return "2001:db8:" + (
            ":".join(groups[2:])
            if self.rng.random() < 0.5
            else ":".join(groups[2:4]) + "::" + ":".join(groups[6:])
        )

    def _make_date(self) -> str:
        day, month, year = self.rng.randint(1, 28), self.rng.randint(1, 12), self.rng.randint(1940, 2024)
        word = _MONTHS[month - 1]
        nth = f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
        return self.rng.choice(
            (f"{day:02}/{month:02}/{year}", f"{month}/{day}/{year}", f"{year}-{month:02}-{day:02}",
             f"{day}.{month}.{year}", f"{day} {word} {year}", f"{word} {day}, {year}", f"{word[:3]} {day} {year}",
             f"{nth} {word}", f"{nth} of {word} {year}", f"{word} {nth}",
             f"{day:02}-{word[:3]}-{year}", f"{day:02}/{month:02}/{year % 100:02}")
        )  # fmt: skip

    def _make_chinese_date(self) -> str:
        year, month, day = self.rng.randint(1990, 2024), self.rng.randint(1, 12), self.rng.randint(1, 28)
        return self.rng.choice(
            (f"{year}年{month}月{day}日", f"{month}月{day}号", f"{year}年{month:02}月{day:02}日")
        )

    def _make_sure_phone(self) -> str:
        area = self.rng.choice(("212", "415", "512", "617", "713"))
        middle = self.rng.choice("23456789") + self._digits(2)
        end = self._digits(4)
        return self.rng.choice(
            (f"+1 {area}-{middle}-{end}", f"({area}) {middle}-{end}", f"{area}-{middle}-{end}",
             f"{area}.{middle}.{end}", f"+44 20 7{self._digits(3)} {end}", f"+91 98{self._digits(3)} {self._digits(5)}",
             f"98{self._digits(8)}", f"+49 30 {self._digits(3)}{end}")
        )  # fmt: skip

    def _make_phone(self) -> str:
        uk = self.rng.choice(
            (f"07{self.rng.choice('45789')}11 {self._digits(6)}", f"020 7{self._digits(3)} {self._digits(4)}")
        )
        return self.rng.choice((self._make_sure_phone(), self._make_sure_phone(), uk))

    def _make_chinese_phone(self) -> str:
        mobile = self.rng.choice(("138", "159", "186", "177")) + self._digits(8)
        return self.rng.choice(
            (mobile, f"+86 {mobile}", f"010-8{self._digits(7)}", f"0755-2{self._digits(7)}")
        )

    def _make_address(self) -> str:
        street = f"{self.rng.randint(1, 480)} {self.rng.choice(self._data['streets'])}"
        return (
            self.rng.choice(
                ("", "", f"Flat {self.rng.randint(1, 60)}, ", f"Apt {self.rng.randint(1, 60)}B, ")
            )
            + street
        )

    def _make_uk_postcode(self) -> str:
        area = self.rng.choice(("CF", "NR", "G", "LS", "SW", "B", "EH", "M"))
        end = "".join(self.rng.choice("ABDEFGHJLNPQRSTUWXYZ") for _ in range(2))
        return f"{area}{self.rng.randint(1, 29)} {self._digits(1)}{end}"

    def _make_zip(self) -> str:
        return self._pattern(self.rng.choice(("7####", "9####", "3####-####")))

    def _make_pin(self) -> str:
        return self._pattern(self.rng.choice(("56####", "110 0##")))

    def _make_platform(self) -> str:
        return self.rng.choice(
            (
                "HealthCareMagic",
                "Healthcare Magic",
                "healthcaremagic.com",
                "iCliniq",
                "icliniq",
                "Chat Doctor",
                "ChatDoctor",
            )
        )
