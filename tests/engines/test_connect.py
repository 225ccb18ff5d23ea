"""Reaching a server: quickly told when nobody answers, and nothing taken from the environment of the portal."""

import datetime
import ipaddress
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.engines.base import EngineError, Refused, SessionLimits, Target, TargetUnavailable, Tls
from apps.engines.postgresql import PostgresEngine, connect
from jitportal.embedded import Cluster
from jitportal.embedded_install import installed, server_user
from tests.engines.conftest import ORDERS, Shop, a_spec, prepared
from tests.support.targets import TargetServer


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_open_login_when_nobody_answers(engine: PostgresEngine, newest: Shop, closed_port: int) -> None:
    target = replace(newest.target, port=closed_port)
    spec = a_spec(newest, ORDERS)
    for act in (
        lambda: engine.open_login(target, spec),
        lambda: engine.close_logins(target, [spec.login]),
        lambda: engine.now(target),
        lambda: engine.sessions(target, SessionLimits()),
        lambda: list(engine.read_tables(target, newest.database)),
        lambda: engine.drop_scopes(target, []),
    ):
        with pytest.raises(TargetUnavailable, match="could not be reached"):
            act()


def test_now_when_the_server_is_silent(
    engine: PostgresEngine, newest: Shop, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 2)  # the least that libpq knows
    with pytest.raises(TargetUnavailable):
        engine.now(replace(newest.target, port=silent_port))


def test_now_when_the_name_does_not_resolve(engine: PostgresEngine, newest: Shop) -> None:
    for tls in Tls:
        with pytest.raises(TargetUnavailable):
            engine.now(replace(newest.target, host="nowhere.invalid", tls=tls))


@pytest.mark.parametrize(
    "change",
    [
        {"host": ""},
        {"host": "127.0.0.1,evil.example"},
        {"host": "/var/run/postgresql"},
        {"host": "@abstract"},
        {"host": "127.0.0.1 port=1"},
        {"host": "localhost'"},
        {"host": "postgresql://evil.example"},
        {"host": "service=evil"},
        {"host": "127.0.0.1\0.evil"},
        {"port": 0},
        {"port": 65536},
        {"user": ""},
        {"user": "a\0b"},
        {"password": ""},
        {"maintenance_db": ""},
        {"maintenance_db": "a\0b"},
        {"host": "192.0.2.1"},
        {"host": "0.0.0.0"},
    ],
)
def test_now_when_the_address_is_not_one(engine: PostgresEngine, change: dict[str, Any]) -> None:
    fine = Target(
        host="127.0.0.1", port=1, user="jitportal", password="x", tls=Tls.LOOPBACK_PLAINTEXT, portal_id="testportal"
    )
    with pytest.raises(Refused):
        engine.now(replace(fine, **change))


def test_now_when_a_database_name_looks_like_a_connection_string(engine: PostgresEngine, newest: Shop) -> None:
    for name in ("host=192.0.2.1", "postgresql://192.0.2.1/x", "x sslmode=disable user=postgres"):
        with pytest.raises(TargetUnavailable, match="does not exist"):
            engine.now(replace(newest.target, maintenance_db=name))


def test_now_when_the_environment_would_lead_elsewhere(
    engine: PostgresEngine, newest: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "passfile").write_text("*:*:*:*:wrong")
    elsewhere = {
        "PGHOSTADDR": "192.0.2.1",
        "PGHOST": "192.0.2.1",
        "PGPASSFILE": str(tmp_path / "passfile"),
        "PGOPTIONS": "-c statement_timeout=1",
        "PGREQUIREAUTH": "password",
        "PGTARGETSESSIONATTRS": "standby",
        "PGCONNECT_TIMEOUT": "1000",
        "PGSSLMODE": "require",
        "PGDATABASE": "nowhere",
        "PGUSER": "nobody",
        "PGCLIENTENCODING": "LATIN1",
    }
    with monkeypatch.context() as patch:
        for name, value in elsewhere.items():
            patch.setitem(os.environ, name, value)
        assert engine.now(newest.target)


def test_now_when_the_server_does_not_ask_for_scram(
    engine: PostgresEngine, target: TargetServer, cluster_folder: Path
) -> None:
    cluster = Cluster(cluster_folder / "lax", fast=True)
    cluster.start()
    shops = prepared(TargetServer(cluster))
    try:
        shop = next(shops)
        for method in ("trust", "password", "md5"):
            hba = f"local all all peer map=ours\nhost all all 127.0.0.1/32 {method}\n"
            (cluster.folder / "conf/pg_hba.conf").write_text(hba)
            shop.run("SELECT pg_reload_conf()")
            _until_reloaded(shop, method)
            found = engine.preflight(shop.target, [shop.database])
            if method == "md5":  # with a SCRAM verifier stored, the server asks for SCRAM all the same
                assert found[0].severity != "error"
                continue
            assert "does not ask for SCRAM" in found[0].sentence
            with pytest.raises(TargetUnavailable):
                engine.now(shop.target)
        shops.close()
    finally:
        cluster.destroy()


def _until_reloaded(shop: Shop, method: str) -> None:
    loaded = "SELECT auth_method FROM pg_hba_file_rules WHERE type = 'host' LIMIT 1"
    while shop.value("SELECT pg_conf_load_time() > pg_postmaster_start_time()") is not True:
        pass
    assert shop.value(loaded) == method


def test_session_when_it_is_set_up(shop: Shop) -> None:
    with connect.session(shop.target, shop.database, doing="looking") as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    assert settings["search_path"] == "pg_catalog"
    assert settings["restrict_nonsystem_relation_kind"] == "view,foreign-table"
    assert (settings["lock_timeout"], settings["statement_timeout"]) == ("5000", "60000")
    assert settings["application_name"] == "jitportal"
    assert settings.get("createrole_self_grant", "") == ""


def test_session_when_its_statement_fails(shop: Shop) -> None:
    for statement, kind in (
        ("SELECT 1/0", EngineError),
        ("SELECT * FROM pg_authid", Refused),
        ("SELECT pg_terminate_backend(pg_backend_pid())", TargetUnavailable),
    ):
        with pytest.raises(EngineError) as caught, connect.session(shop.target, shop.database, doing="trying") as one:
            one.execute(statement)
        assert type(caught.value) is kind
        assert "while trying" in caught.value.sentence


def _certificate(folder: Path, name: str) -> str:
    """A self-signed certificate for 127.0.0.1 or another name, with its key beside it; returns its PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    if name != "localhost":
        names = [x509.DNSName(name)]
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    (folder / f"{name}.crt").write_text(pem)
    no_password = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
    (folder / f"{name}.key").write_bytes(private)
    return pem


@pytest.fixture
def tls_shop(cluster_folder: Path) -> Iterator[tuple[Shop, str, str]]:
    """On Debian's server, which has TLS: a shop, the server's certificate, and another one."""
    if 15 not in installed():
        pytest.skip("PostgreSQL 15 with TLS is not installed here; the wheel's servers have none.")
    folder = cluster_folder / "certificates"
    folder.mkdir()
    right, wrong = _certificate(folder, "localhost"), _certificate(folder, "elsewhere.example")
    user = server_user()
    for file in folder.glob("*.key"):
        file.chmod(0o600)
        if user.switch:
            shutil.chown(file, user.uid, user.gid)
    files = {"ssl_cert_file": str(folder / "localhost.crt"), "ssl_key_file": str(folder / "localhost.key")}
    cluster = Cluster(cluster_folder / "tls", version=15, fast=True, settings={"ssl": "on", **files})
    cluster.start()
    shops = prepared(TargetServer(cluster))
    yield next(shops), right, wrong
    shops.close()
    cluster.destroy()
    shutil.rmtree(folder)


def test_now_when_the_certificate_is_checked(
    engine: PostgresEngine, tls_shop: tuple[Shop, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, right, wrong = tls_shop
    secure = replace(shop.target, tls=Tls.VERIFY_FULL, ca_pem=right)
    assert engine.now(secure)
    with connect.session(secure, doing="looking") as connection:
        encrypted = connection.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchall()
    assert encrypted == [(True, "TLSv1.3")]
    spec = a_spec(shop, ORDERS)
    assert engine.open_login(secure, spec)
    assert engine.close_logins(secure, [spec.login])
    for bad in (replace(secure, ca_pem=wrong), replace(secure, ca_pem=""), replace(secure, ca_pem="no certificate")):
        with pytest.raises(TargetUnavailable, match=r"certificate|root"):
            engine.now(bad)
    (tmp_path / "machine.pem").write_text(right)
    with monkeypatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(tmp_path / "machine.pem"))
        assert engine.now(replace(secure, ca_pem=""))


def test_now_when_the_server_has_no_tls(engine: PostgresEngine, newest: Shop, tmp_path: Path) -> None:
    pem = _certificate(tmp_path, "localhost")
    with pytest.raises(TargetUnavailable):
        engine.now(replace(newest.target, tls=Tls.VERIFY_FULL, ca_pem=pem))
