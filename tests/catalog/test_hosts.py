"""Field notes W6: what a server's host may not be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.catalog.hosts import check_host, is_loopback
from apps.core.errors import Invalid

NEVER = [
    "",
    " ",
    "a b",
    " db.example.com",
    "db.example.com ",
    "db.example.com\n",
    "db.example.com\0",
    "db\t.example.com",
    "one.example.com,two.example.com",
    "db.example.com,",
    "10.0.0.1,127.0.0.1",
    "/var/run/postgresql",
    "/tmp",
    "@abstract",
    "user@db.example.com",
    "db.example.com/postgres",
    "db.example.com:5432",
    "127.0.0.1:5432",
    "[::1]",
    "fe80::1%eth0/64",
    "fe80::1%eth0,db.example.com",
    "fe80::1%",
    "fe80::1%a b",
    "postgresql://db.example.com/",
    "postgres://u:p@db/x?options=-csearch_path",
    "host=db.example.com",
    "db.example.com options=-crole=postgres",
    "db options='-c x=y'",
    "options=-c",
    "service=prod",
    "db.example.com?sslmode=disable",
    "db'",
    'db"',
    "db\\",
    "db;drop",
    "$(id)",
    "..",
    ".db",
    "db..example",
    "db.example.com.",
    "-db.example.com",
    "db-.example.com",
    "x" * 64,
    ".".join(["x" * 60] * 5),
    "dätenbank.example",
    "ｌocalhost",
    "127.0.0.1。",
    "127.1",
    "127.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "2130706433",
    "127.0.0.01",
    "256.0.0.1",
    "1.2.3.4.5",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "::ffff:255.255.255.255",
]

NEAR = [
    "localhost",
    "LOCALHOST",
    "localhost.localdomain",
    "db.localhost",
    "localhost6",
    "ip6-localhost",
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "0.0.0.1",
    "169.254.169.254",
    "169.254.0.1",
    "::1",
    "::",
    "0:0:0:0:0:0:0:1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
]

FINE = [
    "db.example.com",
    "db",
    "db-1.prod_eu.example.com",
    "xn--dtenbank-0za.example",
    "10.0.0.7",
    "192.0.2.7",
    "2001:db8::7",
    "::ffff:192.0.2.7",
    "0localhost.example.com",
    "1.2.3.4.example",
]


@pytest.mark.parametrize("host", NEVER)
@pytest.mark.parametrize("loopback_allowed", [False, True])
def test_check_host_when_it_can_never_be_one(host: str, loopback_allowed: bool) -> None:
    with pytest.raises(Invalid) as refusal:
        check_host(host, loopback_allowed=loopback_allowed)
    assert refusal.value.field == "host"


@pytest.mark.parametrize("host", NEAR)
def test_check_host_when_on_this_machine_or_link(host: str) -> None:
    with pytest.raises(Invalid, match="this very machine"):
        check_host(host, loopback_allowed=False)
    check_host(host, loopback_allowed=True)


@pytest.mark.parametrize("host", FINE)
def test_check_host_when_one_name_or_address(host: str) -> None:
    check_host(host, loopback_allowed=False)
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_is_loopback_when_nothing_leaves_the_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
        "loopback.example.com",
        "localhost.example.com",
        "db.localhost",
    ],
)
def test_is_loopback_when_something_may_leave_it(host: str) -> None:
    assert not is_loopback(host)


@given(st.text())
@settings(deadline=None)
def test_check_host_when_given_anything(host: str) -> None:
    """Whatever passes holds nothing that libpq or a URL reads as more than a host."""
    try:
        check_host(host, loopback_allowed=True)
    except Invalid:
        return
    assert not set(host) & set(" ,/@='\"?#&\\;")
    assert host.isprintable()
