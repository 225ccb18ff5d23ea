"""What a column may hold, told from its name and from values: found in seven languages, and not found in a shop's."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from apps.catalog.data_classes import DEFAULTS
from apps.catalog.detection import Suggestion, suggest
from apps.catalog.detection_words import KINDS

RESTRICTED: Final = {"card", "national_id", "health", "credential", "biometric", "salary", "iban"}


def found(
    column: str, type_: str = "text", *, table: str = "t", comment: str = "", values: list[str] | None = None
) -> str:
    suggestion = suggest(table=table, column=column, type_=type_, comment=comment, values=values or [])
    return suggestion.data_class if suggestion else ""


def why(column: str, values: list[str], *, type_: str = "text") -> Suggestion:
    suggestion = suggest(table="t", column=column, type_=type_, values=values)
    assert suggestion is not None
    return suggestion


def test_suggest_when_it_names_a_data_class() -> None:
    """Every portal starts with the classes that are suggested, all of them and no others."""
    assert {kind.data_class for kind in KINDS} == set(DEFAULTS)
    assert {kind.data_class for kind in KINDS if kind.restricted} == RESTRICTED


NAMES: Final = {
    "email": """email Email E_MAIL eMail emails user_email emailAddress mail kundenemail adresse_mail
        correo_electronico indirizzo_email mailadres endereco_email work-email email2 contact.email""",
    "phone": """phone phone_number telephone tel tel_no mobile mobilePhone fax telefon Telefonnummer handynummer
        téléphone numero_de_telephone movil cellulare telefoonnummer telemovel phone2 privattelefonnummer
        emergency_contact_phone num_telefono""",
    "name": """first_name FirstName FIRSTNAME lastname full_name surname username user_name customerName vorname
        nachname kundennachname prenom nom_de_famille nom_client apellidos cognome achternaam sobrenome
        cardholder_name name_last""",
    "address": """address street billing_address address1 straße Hausnummer anschrift adresse rue calle direccion
        indirizzo straat endereço shipping_address_line1 lieferanschrift rechnungsadresse""",
    "postal_code": """postal_code zip zip_code zipcode plz postleitzahl code_postal codigo_postal postcode""",
    "date_of_birth": """date_of_birth birthdate dob birthday geburtsdatum date_naissance fecha_de_nacimiento
        data_di_nascita geboortedatum data_nascimento DateOfBirth""",
    "ip_address": """ip ip_address ipAddress client_ip remote_addr ipv4 mac_address adresse_ip""",
    "location": """geolocation last_location gps place_of_birth lieu_de_naissance""",
    "free_text": """notes note comments free_text bemerkungen commentaire observaciones opmerking order_notes""",
    "card": """card_number cardNo credit_card cc_number pan cvv cvv2 kreditkartennummer numero_de_carte
        tarjeta_de_credito numero_carta creditcardnummer cartao_de_credito""",
    "iban": """iban IBAN customer_iban bank_account kontonummer compte_bancaire cuenta_bancaria conto_corrente
        rekeningnummer""",
    "national_id": """ssn social_security_number national_id tax_id passport_no passportNumber steuernummer
        sozialversicherungsnummer numero_securite_sociale nif dni codice_fiscale codicefiscale bsn cpf
        personnummer pesel drivers_license steuer_id numero_de_contribuinte""",
    "health": """diagnosis blood_type allergies medical_history krankmeldung maladie enfermedad malattia ziekte
        doenca icd10""",
    "biometric": """fingerprint_template face_embedding biometric_data fingerabdruck huella_dactilar voice_print""",
    "credential": """password passwd password_hash PasswordHash api_key apiKey secret token access_token refreshToken
        kennwort mot_de_passe contraseña wachtwoord senha private_key totp_secret userpassword""",
    "salary": """salary base_salary gehalt bruttogehalt lohn salaire sueldo stipendio salaris salario wage gross_pay""",
}


@pytest.mark.parametrize(
    ("column", "data_class"), [(name, data_class) for data_class, names in NAMES.items() for name in names.split()]
)
def test_suggest_when_the_name_speaks(column: str, data_class: str) -> None:
    suggestion = suggest(table="t", column=column, type_="text")
    assert suggestion is not None
    assert suggestion.data_class == data_class
    assert suggestion.classification == ("restricted" if data_class in RESTRICTED else "confidential")
    assert suggestion.why.startswith("Its name speaks of ")


@pytest.mark.parametrize(
    ("column", "type_", "data_class"),
    [
        ("salary", "numeric(10,2)", "salary"),
        ("salary", "money", "salary"),
        ("birth_date", "date", "date_of_birth"),
        ("born_at", "timestamp(3) with time zone", "date_of_birth"),
        ("birth_year", "smallint", "date_of_birth"),
        ("ssn", "bigint", "national_id"),
        ("phones", "character varying(20)[]", "phone"),
        ("client_ip", "inet", "ip_address"),
        ("mac_address", "macaddr", "ip_address"),
        ("address", "jsonb", "address"),
        ("password_hash", "bytea", "credential"),
        ("session_token", "uuid", "credential"),
        ("is_pregnant", "boolean", "health"),
        ("contact", "public.email_address", "email"),
        ("gps", "point", "location"),
    ],
)
def test_suggest_when_the_type_can_hold_it(column: str, type_: str, data_class: str) -> None:
    assert found(column, type_) == data_class


@pytest.mark.parametrize(
    ("column", "type_"),
    [
        ("email", "boolean"),
        ("email_id", "bigint"),
        ("email", "integer"),
        ("address", "integer"),
        ("password_changed", "timestamp with time zone"),
        ("token", "integer"),
        ("tokens", "bigint"),
        ("first_name", "uuid"),
        ("notes", "jsonb"),
        ("salary", "boolean"),
        ("salary", "date"),
        ("phone", "interval"),
        ("ip", "bigint"),
        ("dob", "boolean"),
        ("free_text", "tsvector"),
    ],
)
def test_suggest_when_the_type_cannot_hold_it(column: str, type_: str) -> None:
    assert found(column, type_) == ""


OTHERS: Final = """email_sent_at email_verified is_email email_template phone_type phone_verified
    address_id address_type has_card card_type credit_card_type card_brand card_last4 credit_card_last4
    gift_card_number token_type
    password_policy password_changed_at passport_country salary_currency iban_valid product_name file_name
    hostname table_name public_key wallet_address primary_key release_notes max_salary num_addresses
    mail_server note_count diagnosis_id health_check status description title code value data payload
    metadata image url slug sku type currency country locale city quantity price amount total total_cents
    tax_rate weight ean barcode created_at updated_at deleted version position lat name nom pay message
    passed spinner tokenizer notebook emailer_config_id classname cardinal salaried_type note_de_frais
    kontostand nombre_producto card_token"""


@pytest.mark.parametrize("column", OTHERS.split())
def test_suggest_when_the_name_is_about_something_else(column: str) -> None:
    assert found(column) == ""


@pytest.mark.parametrize(
    ("table", "column", "data_class"),
    [
        ("customers", "name", "name"),
        ("app_user", "Name", "name"),
        ("employee_details", "name", "name"),
        ("tbl_clients_2024", "nom", "name"),
        ("Kunden", "name", "name"),
        ("dipendenti", "nome", "name"),
        ("drivers", "lat", "location"),
        ("members", "bio", "free_text"),
        ("employees", "bonus", "salary"),
        ("products", "name", ""),
        ("user_roles", "name", ""),
        ("customer_groups", "name", ""),
        ("stores", "lat", ""),
        ("", "name", ""),
    ],
)
def test_suggest_when_only_the_table_tells(table: str, column: str, data_class: str) -> None:
    assert found(column, table=table) == data_class


@pytest.mark.parametrize(
    ("comment", "data_class"),
    [
        ("E-mail of the customer", "email"),
        ("Geburtsdatum", "date_of_birth"),
        ("Not an e-mail address", ""),
        ("Whether the e-mail was sent", ""),
        ("Set by the nightly job when the password of the account has been changed by its owner", ""),
    ],
)
def test_suggest_when_the_comment_speaks(comment: str, data_class: str) -> None:
    assert found("c1", comment=comment) == data_class


def numbered(form: Callable[[int], str], count: int = 100) -> list[str]:
    return [form(number) for number in range(count)]


def card(number: int) -> str:
    digits = f"453201{number:09}"
    return digits + luhn.calc_check_digit(digits)


def iban(number: int) -> str:
    account = f"37040044{532013000 + number:010}"
    return "DE" + mod_97_10.calc_check_digits(account + "DE").rjust(2, "0") + account


def pesel(number: int) -> str:
    digits = f"{(date(1980, 1, 1) + timedelta(days=number)):%y%m%d}{number % 1000:04}"
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    return digits + str(-sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=True)) % 10)


def dni(number: int) -> str:
    return f"{50_000_000 + number}" + "TRWAGMYFPDXBNJZSQVHLCKE"[(50_000_000 + number) % 23]


VALUES: Final[list[tuple[str, Callable[[int], str], str]]] = [
    ("email", lambda n: f"person{n}@example.org", "text"),
    ("card", card, "text"),
    ("card", card, "bigint"),
    ("card", lambda n: " ".join(card(n)[at : at + 4] for at in range(0, 16, 4)), "character varying(19)"),
    ("iban", iban, "text"),
    ("national_id", pesel, "text"),
    ("national_id", dni, "text"),
    ("national_id", lambda n: f"{100 + n}-45-{1000 + n}", "text"),
    ("phone", lambda n: f"+4930901820{n:02}", "text"),
    ("phone", lambda n: f"+1 212-555-01{n:02}", "text"),
    ("ip_address", lambda n: f"203.0.113.{n}", "text"),
    ("ip_address", lambda n: f"203.0.113.{n}/32", "inet"),
    ("ip_address", lambda n: f"2001:db8::{n:x}", "text"),
    ("credential", lambda n: f"$2b$12${n:053}", "text"),
    ("credential", lambda n: f"pbkdf2_sha256$1000000$salt{n}$c29tZXRoaW5n", "text"),
    ("credential", lambda n: f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{n}.abc", "text"),
    ("credential", lambda n: f"-----BEGIN PRIVATE KEY-----\n{n}", "text"),
]


@pytest.mark.parametrize(("data_class", "form", "type_"), VALUES)
def test_suggest_when_the_values_tell(data_class: str, form: Callable[[int], str], type_: str) -> None:
    values = numbered(form)
    suggestion = why("c1", values, type_=type_)
    assert suggestion.data_class == data_class
    assert suggestion.why.startswith("100 of 100 different sampled values are ")
    assert not any(value in suggestion.why for value in values)


def test_suggest_when_name_and_values_agree() -> None:
    values = [*numbered(lambda n: f"person{n}@example.org", 96), "none", "-", "n/a", "unknown"]
    assert why("email", values) == Suggestion(
        "confidential",
        "email",
        "Its name speaks of e-mail addresses, and 96 of 100 different sampled values are e-mail addresses.",
    )


@pytest.mark.parametrize(
    ("column", "form", "data_class"),
    [
        ("phone", lambda n: f"030 9018 20{n:02}", "phone"),
        ("ssn", lambda n: f"{123_456_000 + n}", "national_id"),
    ],
)
def test_suggest_when_weak_values_confirm_a_name(column: str, form: Callable[[int], str], data_class: str) -> None:
    """They are not enough where the name says nothing."""
    suggestion = why(column, numbered(form))
    assert suggestion.data_class == data_class
    assert "different sampled values" in suggestion.why
    assert found("c1", values=numbered(form)) == ""


def test_suggest_when_name_and_values_differ() -> None:
    """The stricter of both, else what the values are."""
    emails = numbered(lambda n: f"person{n}@example.org")
    assert why("username", emails).data_class == "email"
    assert why("username", emails).why.startswith("Its name speaks of names of people, but 100 of 100 ")
    assert why("password", emails).data_class == "credential"
    assert why("email", numbered(iban)).data_class == "iban"


@pytest.mark.parametrize(("hits", "others", "data_class"), [(8, 2, "email"), (8, 3, ""), (9, 0, ""), (10, 0, "email")])
def test_suggest_when_there_are_few_values(hits: int, others: int, data_class: str) -> None:
    """Ten different ones at least, of which four in five; the same one again tells nothing."""
    values = numbered(lambda n: f"p{n}@example.org", hits) + numbered(lambda n: f"nothing {n}", others)
    assert found("c1", values=[*values, *values, "", " "]) == data_class


SHOP: Final[list[tuple[str, str, Callable[[int], str]]]] = [
    ("id", "bigint", lambda n: str(1 + n)),
    ("order_id", "bigint", lambda n: str(100_000_000 + 7 * n)),
    ("order_no", "text", lambda n: f"2024-{n:06}"),
    ("order_no", "text", lambda n: f"2401{n % 28 + 1:02}-{n:04}"),
    ("order_no", "text", lambda n: f"2401{n % 28 + 1:02}/{n:03}"),
    ("reference", "text", lambda n: f"{10**15 + 977 * n}"),
    ("external_id", "bigint", lambda n: str(4_000_000_000_000_000 + 12_345 * n)),
    ("snowflake", "bigint", lambda n: str(1_765_000_000_000_000_000 + 4_194_304 * n)),
    ("imei_like", "text", lambda n: f"35{n:012}" + luhn.calc_check_digit(f"35{n:012}")),
    ("siren", "text", lambda n: f"{40_000_000 + n}" + luhn.calc_check_digit(f"{40_000_000 + n}")),
    ("sku", "text", lambda n: f"AB-{1000 + n}-XL"),
    ("sku", "text", lambda n: f"{10_000_000 + n}A"),
    ("part", "text", lambda n: f"0{100 + n}-{2000 + n}-{30 + n % 60}"),
    ("ean", "text", lambda n: f"{4_006_381_000_000 + n}"),
    ("quantity", "integer", str),
    ("cents", "integer", lambda n: str(199 + 100 * n)),
    ("price", "numeric(10,2)", lambda n: f"{n}.99"),
    ("weight", "double precision", lambda n: f"{n / 7}"),
    ("area", "integer", lambda n: str(10_115 + n)),
    (
        "country",
        "character(2)",
        lambda n: ["DE", "FR", "IT", "ES", "NL", "PT", "AT", "CH", "BE", "PL", "GB", "US"][n % 12],
    ),
    ("active", "boolean", lambda n: "tf"[n % 2]),
    ("flag", "text", lambda n: "YN"[n % 2]),
    ("created", "timestamp with time zone", lambda n: f"2024-01-{n % 28 + 1:02} 10:00:{n % 60:02}+00"),
    ("day", "text", lambda n: f"{n % 28 + 1:02}.{n % 12 + 1:02}.20{n % 99:02}"),
    ("day", "text", lambda n: f"0{n % 9 + 1}-0{n % 8 + 1}-{1925 + n}"),
    ("epoch", "bigint", lambda n: str(1_700_000_000 + 3_600 * n)),
    ("epoch_ms", "bigint", lambda n: str(1_700_000_000_000 + 3_600_007 * n)),
    ("epoch_us", "bigint", lambda n: str(1_700_000_000_000_000 + 3_600_000_011 * n)),
    ("app_version", "text", lambda n: f"1.{n % 10}.{n}.{n % 31}"),
    ("build", "text", lambda n: f"10.0.{100 + n}.1"),
    ("ratio", "text", lambda n: f"{n}.{n}.{n % 30}.{n % 5}" if n < 32 else f"1.2.3.{n % 30}"),
    ("uuid", "uuid", lambda n: f"00000000-0000-4000-8000-{n:012}"),
    ("hash", "text", lambda n: f"{n:064x}"),
    ("color", "text", lambda n: f"#{n:06x}"),
    ("url", "text", lambda n: f"https://example.org/p/{n}"),
    ("handle", "text", lambda n: f"@person{n}"),
    ("dims", "text", lambda n: f"{n} x {n + 1} x {n + 2}"),
    ("tracking", "text", lambda n: f"1Z999AA1{n:010}"),
    ("invoice", "text", lambda n: f"RE{n:010}"),
    ("lot", "text", lambda n: f"DE{n:014}"),
    ("vat", "text", lambda n: f"DE{100_000_000 + n}"),
    ("title", "text", lambda n: f"Chair no. {n}"),
    ("phone_like_id", "text", lambda n: f"{49_309_018_200 + n}"),
]


@pytest.mark.parametrize(("column", "type_", "form"), SHOP)
def test_suggest_when_it_is_a_shop(column: str, type_: str, form: Callable[[int], str]) -> None:
    """Numbers that merely look like telephones, cards or national numbers."""
    assert found(column, type_, table="order_items", values=numbered(form)) == ""


types = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["text", "bigint", "inet", "numeric(10,2)", "character varying(3)[]", 'public."x', "date", "uuid"]),
)
values = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.emails(),
        st.ip_addresses().map(str),
        st.integers().map(str),
        st.from_regex(r"[+0-9A-Z ().:/@$-]{8,34}"),
    ),
    max_size=30,
)


@given(table=st.text(), column=st.text(), type_=types, comment=st.text(), values=values)
def test_suggest_when_anything_is_given(table: str, column: str, type_: str, comment: str, values: list[str]) -> None:
    suggestion = suggest(table=table, column=column, type_=type_, comment=comment, values=values)
    if suggestion:
        assert suggestion.data_class in DEFAULTS
        assert len(suggestion.why) < 200


@given(
    column=st.sampled_from(" ".join(NAMES.values()).split()),
    values=st.lists(st.text(min_size=12), min_size=10, max_size=20),
)
def test_suggest_when_a_sentence_is_made(column: str, values: list[str]) -> None:
    """It holds no value, whatever they are."""
    suggestion = suggest(table="t", column=column, type_="text", values=values)
    assert suggestion is None or not any(value in suggestion.why for value in values)
