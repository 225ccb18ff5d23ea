"""Values that have a form of their own: e-mail addresses, cards, accounts, national numbers, secrets.

The libraries know the formats (decision 0006). A format counts by itself only where chance and ordinary numbers such
as ids, prices, dates and timestamps do not meet it; a weaker one only confirms what the column's name says.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.gr import amka
from stdnum.ie import pps
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import cc, nif
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.us import ssn

FEWEST: Final = 10  # different values, or they tell nothing
_MOST: Final = 1_000  # values that are looked at
_LONGEST: Final = 8_192  # letters of a value that is looked at: a private key has so many

_NO_ADDRESSES: Final = frozenset({"version", "release", "build", "firmware", "oid", "revision"})
# Issuers' prefixes and lengths: without them one in ten of any long numbers would do, and every IMEI.
_ISSUED: Final = re.compile(
    r"4\d{12}(\d{3}){0,2}|5[1-5]\d{14}|2(22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|(6011|64[4-9]\d|65\d\d)\d{12}|35(2[89]|[3-8]\d)\d{12}|3(0[0-5]|[689]\d)\d{11}|62\d{14,17}"
)
_GROUPED: Final = re.compile(r"\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}")
_DATE: Final = re.compile(r"\d{1,4}([-/. ])\d{1,2}\1\d{1,4}")
_PHONE: Final = re.compile(r"[+0-9(][0-9 ()./-]{5,24}")
_AMERICAN: Final = re.compile(r"\(\d{3}\) ?\d{3}-\d{4}")
_REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "BE", "PT", "BR", "AT", "CH", "PL", "IN")
_SECRET: Final = re.compile(
    r"\$2[abxy]?\$\d\d\$.{53}"  # bcrypt
    r"|\$(argon2(i|d|id)|scrypt|pbkdf2[\w-]*|[156y]|sha1|7)\$.+"  # the crypt and PHC formats
    r"|(pbkdf2_\w+|argon2|bcrypt(_sha256)?|scrypt|md5|sha1)\$.+"  # Django
    r"|SCRAM-SHA-256\$.+|\{(SSHA|SHA|MD5|CRYPT|ARGON2)\d*\}.+"
    r"|eyJ[\w-]+\.eyJ[\w-]+(\.[\w-]*)?"  # JSON web tokens, also cut off
    r"|(ghp|gho|ghs|ghr|github_pat|glpat|xox[abps]|sk_live|rk_live|sk|npm|pypi)[_-][\w-]{16,}|(AKIA|ASIA)[A-Z0-9]{16}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.+",
    re.DOTALL,
)

Test = Callable[[str], bool]


@dataclass(frozen=True)
class Found:
    """What most values of a column are."""

    data_class: str
    spoken: str
    hits: int
    distinct: int


@dataclass(frozen=True)
class _Form:
    data_class: str
    spoken: str
    test: Test
    form: str = ""  # a value that does not match it as a whole is not looked at further
    alone: bool = True  # also without a name that says the same
    numbers: bool = False  # may stand in a column of numbers

    def may_be(self, *, number: bool, words: Sequence[str], named: str) -> bool:
        if self.data_class == "ip_address" and not _NO_ADDRESSES.isdisjoint(words):
            return False
        return (self.numbers or not number) and (self.alone or self.data_class == named)

    def counts(self, value: str) -> bool:
        if self.form and not re.fullmatch(self.form, value, re.ASCII | re.IGNORECASE):
            return False
        try:
            return bool(self.test(value))
        except Exception:  # a library that stumbles over an odd value has not recognised it
            return False


def recognise(values: Sequence[str], *, number: bool, words: Sequence[str], named: str) -> Found | None:
    """What at least 80 % of at least 10 different values are.

    `words` are those of the column, `named` is the data class that they speak of: it comes first, and for it weak
    formats count too.
    """
    distinct = {value.strip() for value in values[:_MOST] if value} - {""}
    if len(distinct) < FEWEST:
        return None
    short = [value for value in distinct if len(value) <= _LONGEST]
    forms = [form for form in _FORMS if form.may_be(number=number, words=words, named=named)]
    found = (_count(form, short, len(distinct)) for form in sorted(forms, key=lambda form: form.data_class != named))
    return next((one for one in found if one is not None), None)


def _count(form: _Form, values: Sequence[str], distinct: int) -> Found | None:
    """None as soon as too many values are something else."""
    others = distinct - len(values)
    for value in values:
        others += not form.counts(value)
        if others * 5 > distinct:
            return None
    return Found(form.data_class, form.spoken, distinct - others, distinct)


def _is_email(value: str) -> bool:
    try:
        validate_email(value)
    except ValidationError:
        return False
    return True


def _is_address(value: str) -> bool:
    """Of one machine. Four small numbers are rather a version."""
    address = ipaddress.ip_address(value.removesuffix("/32").removesuffix("/128"))
    return address.version == 6 or max(address.packed) > 31


def _is_card(value: str) -> bool:
    digits = re.sub(r"[ -]", "", value)
    return bool(_GROUPED.fullmatch(value) and _ISSUED.fullmatch(digits)) and luhn.is_valid(digits)


def _is_international(value: str) -> bool:
    """Without + or brackets a number may be anything."""
    region = "US" if _AMERICAN.fullmatch(value) else None
    return phonenumbers.is_valid_number(phonenumbers.parse(value, region))


def _is_anywhere(value: str) -> bool:
    if _DATE.fullmatch(value):
        return False
    return any(_is_in(value, region) for region in _REGIONS)


def _is_in(value: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, region))
    except phonenumbers.NumberParseException:
        return False


def _national(country: str, form: str, test: Test, *, alone: bool = True, numbers: bool = False) -> _Form:
    return _Form("national_id", f"national numbers of {country}", test, form, alone, numbers)


# Numbers with no more than one check digit or a date do not count alone: SIREN, EAN and order numbers look like them.
_FORMS: Final = (
    _Form("credential", "password hashes, tokens or keys", lambda value: bool(_SECRET.fullmatch(value))),
    _Form("iban", "IBANs", iban.is_valid, r"[A-Z]{2}\d\d[A-Z0-9 ]{11,38}"),
    _Form("card", "card numbers", _is_card, r"[\d -]{12,23}", numbers=True),
    _national("Italy", r"[A-Z]{6}[0-9A-Z]{10}", codicefiscale.is_valid),
    _national("Mexico", r"[A-Z]{4}\d{6}[HMX][A-Z0-9]{7}", curp.is_valid),
    _national("Finland", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", hetu.is_valid),
    _national("Spain", r"\d{8}-?[A-Z]", dni.is_valid),
    _national("Spain (foreigners)", r"[XYZ]-?\d{7}-?[A-Z]", nie.is_valid),
    _national("Portugal", r"\d{8} ?\d ?[A-Z0-9]{2}\d", cc.is_valid),
    _national("Ireland", r"\d{7}[A-Z]{1,2}", pps.is_valid),
    _national("France", r"[1-478] ?\d\d ?\d\d ?[0-9AB]{2} ?\d{3} ?\d{3} ?\d\d", nir.is_valid, numbers=True),
    _national("Switzerland", r"756\.?\d{4}\.?\d{4}\.?\d\d", ahv.is_valid, numbers=True),
    _national("the United States", r"\d{3}-\d\d-\d{4}", ssn.is_valid),
    _national("Sweden", r"(\d\d)?\d{6}[-+]\d{4}", personnummer.is_valid),
    _national("Czechia or Slovakia", r"\d{6}/\d{4}", rc.is_valid),
    _national("Brazil", r"\d{3}\.\d{3}\.\d{3}-\d\d", cpf.is_valid),
    _national("Belgium", r"\d\d\.?\d\d\.?\d\d[-.]?\d{3}\.?\d\d", nn.is_valid, numbers=True),
    _national("Norway", r"\d{6} ?\d{5}", fodselsnummer.is_valid, numbers=True),
    _national("Poland", r"\d{11}", pesel.is_valid, numbers=True),
    _national("Romania", r"[1-9]\d{12}", cnp.is_valid, numbers=True),
    _national("Germany", r"\d\d ?\d{3} ?\d{3} ?\d{3}", idnr.is_valid, alone=False, numbers=True),
    _national("Brazil", r"\d{11}", cpf.is_valid, alone=False, numbers=True),
    _national("the United States", r"\d{9}", ssn.is_valid, alone=False, numbers=True),
    _national("the Netherlands", r"\d{8,9}|\d{4}\.\d\d\.\d{3}", bsn.is_valid, alone=False, numbers=True),
    _national("Portugal", r"[1-3]\d{8}", nif.is_valid, alone=False, numbers=True),
    _national("the United Kingdom (NHS)", r"\d{3} ?\d{3} ?\d{4}", nhs.is_valid, alone=False, numbers=True),
    _national("India", r"\d{4} ?\d{4} ?\d{4}", aadhaar.is_valid, alone=False, numbers=True),
    _national("Canada", r"\d{3}[ -]?\d{3}[ -]?\d{3}", sin.is_valid, alone=False, numbers=True),
    _national("Greece", r"\d{11}", amka.is_valid, alone=False, numbers=True),
    _national("Sweden", r"(\d\d)?\d{10}", personnummer.is_valid, alone=False, numbers=True),
    _national("Denmark", r"\d{6}-?\d{4}", cpr.is_valid, alone=False, numbers=True),
    _Form("email", "e-mail addresses", _is_email, r"[^@\s]+@[^@\s]+"),
    _Form("ip_address", "network addresses", _is_address, r"[0-9.]{7,15}(/32)?|[0-9a-f:.]+(/128)?"),
    _Form("phone", "telephone numbers", _is_international, r"\+[0-9 ()./-]{7,24}|" + _AMERICAN.pattern),
    _Form("phone", "telephone numbers", _is_anywhere, _PHONE.pattern, alone=False, numbers=True),
)
