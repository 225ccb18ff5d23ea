"""What to paste where: whatever the names and the password hold, each reader takes it as it is meant."""

import shlex
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict

from apps.grants.connecting import Way, ways
from apps.grants.credential import Credential

ODD = 'o\'dd "name"; $(id) `id` \\ % / ? # & = : @ 表 +'


def credential(**parts: Any) -> Credential:
    usual: dict[str, Any] = {
        "host": "db.example.com",
        "port": 5432,
        "database": "shop",
        "username": "jit_alice_abc",
        "password": "secret",
        "valid_until": datetime(2026, 1, 1, tzinfo=UTC),
        "url": "",
        "sslmode": "verify-full",
    }
    return Credential(**usual | parts)


def made(one: Credential) -> dict[str, Way]:
    return {way.name: way for way in ways(one, service="shop")}


@pytest.mark.parametrize("database", ["shop", ODD])
@pytest.mark.parametrize("password", ["secret", ODD, "a|b"])
def test_ways_when_names_are_odd(database: str, password: str) -> None:
    texts = {name: way.text for name, way in made(credential(database=database, password=password)).items()}

    command, argument = shlex.split(texts["psql"])
    assert command == "psql"
    assert conninfo_to_dict(argument) == {
        "host": "db.example.com",
        "port": "5432",
        "dbname": database,
        "user": "jit_alice_abc",
        "sslmode": "verify-full",
    }
    url = urlsplit(texts["sqlalchemy"])
    assert (url.scheme, unquote(url.password or ""), unquote(url.path[1:])) == (
        "postgresql+psycopg",
        password,
        database,
    )
    jdbc = urlsplit(texts["jdbc"].removeprefix("jdbc:"))
    assert (unquote(jdbc.path[1:]), parse_qs(jdbc.query)["password"]) == (database, [password])
    assert f"dbname={database}\n" in texts["service"]
    assert unescaped(texts["pgpass"])[2::2] == [database, password]
    assert all(way.holds_secret == ("secret" in way.text) for way in made(credential(database=database)).values())


def unescaped(line: str) -> list[str]:
    """As libpq reads a line of the password file."""
    fields, escaped = [""], False
    for character in line:
        if escaped or character not in "\\:":
            fields[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            fields.append("")
    return fields


def test_ways_when_the_host_is_an_address() -> None:
    texts = {name: way.text for name, way in made(credential(host="::1")).items()}

    assert "@[::1]:5432/" in texts["sqlalchemy"]
    assert "//[::1]:5432/" in texts["jdbc"]


def test_ways_when_a_file_cannot_say_it() -> None:
    assert {"service", "dbeaver"}.isdisjoint(made(credential(database="two\nlines")))
    assert "dbeaver" not in made(credential(database="a|b"))
