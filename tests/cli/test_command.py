"""The `jit` command against a portal that says what a test wants: what it sends, shows, keeps and ends with."""

import io
import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from jit import portal as api
from jit import signing_in, waiting, words
from jit.errors import Failure
from jit.keeping import checked
from jit.portal import Portal
from jit.using import environment
from tests.cli.conftest import Ended
from tests.cli.fake import ALICE, CREDENTIAL, Call, FakePortal, grant, page, preview, problem, request

Jit = Callable[..., Ended]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "_LAST_SECONDS", 0.01)
    monkeypatch.setattr(signing_in.time, "sleep", lambda _: None)


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


class Drawer(KeyringBackend):
    """A keyring that is there."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


# Signing in


def test_login_when_there_is_no_keyring_keeps_a_private_file(
    jit: Jit, portal: FakePortal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, "jit_secret\n")
    ended = jit("login", "--url", portal.url, "--token")
    assert ended.status == 0, ended
    assert "signed in" in ended.said
    assert "no keyring" in ended.said
    (kept,) = (home / "config").glob("tokens.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text()) == {portal.url: "jit_secret"}
    assert "jit_secret" not in ended.out + ended.err
    assert jit("whoami").status == 0
    assert portal.asked("GET /me")[-1].headers["Authorization"] == "Bearer jit_secret"

    portal.answers["POST /device/revoke"] = (200, {})
    assert jit("logout").status == 0
    assert portal.asked("POST /device/revoke")[0].body == {"token": ["jit_secret"]}
    assert json.loads(kept.read_text()) == {}
    assert jit("whoami").status == 3


def test_login_when_there_is_a_keyring_leaves_no_file(
    jit: Jit, portal: FakePortal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer = Drawer()
    keyring.set_keyring(drawer)
    given(monkeypatch, "jit_secret\n")
    assert jit("login", "--url", portal.url, "--token").status == 0
    assert drawer.kept == {("jit", portal.url): "jit_secret"}
    assert not (home / "config" / "tokens.json").exists()
    assert jit("whoami").status == 0


def test_login_when_the_token_is_wrong_keeps_nothing(
    jit: Jit, portal: FakePortal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal.answers["GET /me"] = (401, problem(401, "Send a valid API token."))
    given(monkeypatch, "jit_wrong\n")
    ended = jit("login", "--url", portal.url, "--token")
    assert ended.status == 3
    assert "Send a valid API token." in ended.said
    assert not (home / "config").exists()


def test_login_by_code(jit: Jit, portal: FakePortal) -> None:
    portal.answers["POST /device/code"] = (
        200,
        {
            "device_code": "d",
            "user_code": "BCDF-GHJK",
            "verification_uri": f"{portal.url}/device/",
            "verification_uri_complete": f"{portal.url}/device/?code=BCDF-GHJK",
            "expires_in": 600,
            "interval": 2,
        },
    )
    portal.answers["POST /device/token"] = [
        (400, {"error": "authorization_pending"}),
        (400, {"error": "slow_down"}),
        (502, {}),
        (200, {"access_token": "jit_new", "token_type": "Bearer"}),
    ]
    ended = jit("login", "--url", portal.url)
    assert ended.status == 0, ended
    assert "BCDF-GHJK" in ended.err
    assert f"{portal.url}/device/?code=BCDF-GHJK" in ended.err
    assert portal.asked("POST /device/code")[0].body["scope"] == ["read request approve use"]
    assert portal.asked("GET /me")[0].headers["Authorization"] == "Bearer jit_new"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, {"error": "access_denied"}), "You said no"),
        ((400, {"error": "invalid_grant"}), "not confirmed in time"),
    ],
)
def test_login_by_code_when_it_comes_to_nothing(jit: Jit, portal: FakePortal, answer: Any, said: str) -> None:
    made = {"device_code": "d", "user_code": "X", "verification_uri": f"{portal.url}/device/", "expires_in": 600}
    portal.answers["POST /device/code"] = (200, made)
    portal.answers["POST /device/token"] = answer
    ended = jit("login", "--url", portal.url)
    assert ended.status == 3
    assert said in ended.said


def test_login_by_code_when_the_page_is_elsewhere_is_refused(jit: Jit, portal: FakePortal) -> None:
    made = {"device_code": "d", "user_code": "X", "verification_uri": "https://evil.example/", "expires_in": 600}
    portal.answers["POST /device/code"] = (200, made)
    ended = jit("login", "--url", portal.url)
    assert ended.status == 1
    assert "evil" not in ended.out + ended.err


@pytest.mark.parametrize("url", ["http://jit.example.org", "ftp://x", "https://", "https://a/b", "https://u:p@h"])
def test_address_when_it_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(Failure):
        checked(url)


def test_address_without_a_scheme_is_https() -> None:
    assert checked("jit.example.org/") == "https://jit.example.org"
    assert checked("http://localhost:8000") == "http://localhost:8000"


def test_whoami_when_nobody_signed_in(jit: Jit) -> None:
    ended = jit("whoami")
    assert ended.status == 3
    assert "jit login" in ended.said


# What the portal says


@pytest.mark.parametrize(
    ("answer", "exit_status", "said"),
    [
        ((401, problem(401, "Sign in once in the portal.")), 3, "Sign in once in the portal. Run `jit login`"),
        ((403, problem(403, "This token lacks the scope `read`.")), 4, "lacks the scope"),
        ((404, problem(404, "Nothing here.")), 4, "Nothing here."),
        ((409, problem(409, "It has moved on.")), 5, "It has moved on."),
        ((422, problem(422, "a: x", errors=[{"field": "a", "detail": "x"}, {"field": "b", "detail": "y"}])), 5, "b: y"),
        ((429, problem(429, "Too many.")), 5, "Too many. Wait a minute"),
        ((500, b"<html>"), 1, "The portal answered 500. If it happens again"),
        ((302, b""), 1, "The portal sends you elsewhere"),
        ((200, b"<html>hello"), 1, "something else than a portal"),
    ],
)
def test_refusal_is_a_sentence(jit: Jit, signed_in: FakePortal, answer: Any, exit_status: int, said: str) -> None:
    signed_in.answers["GET /me"] = answer
    ended = jit("whoami")
    assert (ended.status, ended.out) == (exit_status, "")
    assert said in ended.said
    assert "Traceback" not in ended.err


def test_refusal_when_a_script_asks(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers["GET /me"] = (403, problem(403, "No."))
    ended = jit("whoami", "--json")
    assert json.loads(ended.err)["error"]["detail"] == "No."
    assert json.loads(ended.err)["exit"] == ended.status == 4


def test_network_when_away(jit: Jit, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("JIT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
    monkeypatch.setenv("JIT_TOKEN", "x")
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    ended = jit("databases")
    assert ended.status == 6
    assert "cannot be reached" in ended.said


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_token_when_a_proxy_stands_in_the_environment_goes_past_it(
    jit: Jit, signed_in: FakePortal, proxy: FakePortal, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, proxy.url)
    assert jit("whoami").status == 0
    assert len(signed_in.calls) == 1
    assert proxy.calls == []


def test_token_when_the_portal_is_https_goes_through_a_proxy_unseen(
    home: Path, proxy: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises(Failure, match="cannot be reached"):
        Portal("https://jit.example.org", "jit_token", pause=0).get("/me")
    assert {call.method for call in proxy.calls} == {"CONNECT"}
    assert "jit_token" not in str([call.headers for call in proxy.calls])


def test_lists_are_read_to_the_end(jit: Jit, signed_in: FakePortal) -> None:
    row = {"slug": "a", "environment": "staging", "description": "", "may_request": True, "owned": False}
    signed_in.answers["GET /databases"] = [page(row, cursor="c1"), page({**row, "slug": "b"})]
    ended = jit("databases", "--json")
    assert [found["slug"] for found in json.loads(ended.out)] == ["a", "b"]
    assert signed_in.asked("GET /databases")[1].query == {"cursor": ["c1"]}


def test_text_of_others_when_it_holds_escapes(jit: Jit, signed_in: FakePortal) -> None:
    nasty = "fine\x1b[2J\x1b]0;x\x07\u202e[bold red]x[/]"
    signed_in.answers["GET /requests/rrrrrrrrrr"] = (200, request(reason=nasty, requester="bob"))
    ended = jit("status", "rrrrrrrrrr")
    assert ended.status == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(ended.out)
    assert "[bold red]x[/]" in ended.out


_UNSEEN = [0x61C, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2060, 0xFEFF, 0xE0000, 0xE0041, 0xE007F]
NASTY = "\x1b\x7f\x85\x9b\u202e\u2066" + "".join(map(chr, _UNSEEN))


def test_text_of_others_when_it_holds_marks_that_nobody_sees() -> None:
    shown = "�" * len(NASTY)
    assert [words.plain(NASTY), words.line(NASTY), words.cell(NASTY)] == [shown, shown, shown]


def test_text_of_others_when_it_is_half_a_character(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers["GET /me"] = (403, problem(403, "No \ud83d."))
    assert "No �." in jit("whoami").said


def test_json_when_it_holds_what_moves_a_terminal(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers["GET /me"] = [(200, ALICE | {"name": f"Zoë {NASTY}"}), (403, problem(403, NASTY))]
    answer, refused = jit("whoami", "--json"), jit("whoami", "--json")
    assert json.loads(answer.out)["name"] == f"Zoë {NASTY}"
    assert json.loads(refused.err)["error"]["detail"] == NASTY
    for said in (answer.out, refused.err):
        assert said.removesuffix("\n").isascii()
        assert said.removesuffix("\n").isprintable()


def test_message_when_it_has_lines_makes_one_of_them(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers["GET /me"] = (403, problem(403, "No.\n✓ a peer: dana\r\nIt is approved."))
    assert jit("whoami").err == "✗ No. ✓ a peer: dana It is approved.\n"


def test_request_when_a_text_has_lines_shows_one_of_its_own(jit: Jit, signed_in: FakePortal) -> None:
    row = request(reason="A fix\nRisk  low", ticket="OPS-1\nRoute  by policy", statement="UPDATE t\n  SET a = 1")
    signed_in.answers["GET /requests/rrrrrrrrrr"] = (200, row)
    shown = [line.strip() for line in jit("status", "rrrrrrrrrr").out.splitlines()]
    assert "Reason  A fix⏎Risk  low" in shown
    assert "Ticket  OPS-1⏎Route  by policy" in shown
    assert shown[shown.index("Statement  UPDATE t") :][:2] == ["Statement  UPDATE t", "SET a = 1"]  # to be read


# Asking and waiting


def usable(portal: FakePortal) -> None:
    portal.answers |= {
        "GET /grants": page(),
        "GET /requests": page(),
        "POST /requests/preview": (200, preview()),
        "POST /requests": (201, request()),
        "GET /requests/rrrrrrrrrr": [
            (200, request()),
            (200, request(status="approved")),
            (200, request(status="approved", grant={"id": "gggggggggg", "status": "queued"})),
        ],
        "GET /grants/gggggggggg": [(200, grant(status="queued")), (200, grant())],
        "POST /grants/gggggggggg/credential": (200, CREDENTIAL),
        "POST /grants/gggggggggg/release": (200, grant(status="ending")),
    }


def test_request_shows_risk_and_route_first(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    ended = jit("request", "shop", "-t", "sales.orders", "-t", "sales.*", "-r", "why", "-m", "30", "--yes")
    assert ended.status == 0, ended
    assert "Risk high" in ended.said
    assert "a peer (1 can)" in ended.said
    assert "It waits for a peer (bob, carla and 1 more)" in ended.said
    (sent,) = signed_in.asked("POST /requests")
    assert sent.body == {
        "database": "shop",
        "level": "query",
        "tables": ["sales.orders", "sales.*"],
        "unmask": [],
        "connection": "direct",
        "minutes": 30,
        "starts_at": None,
        "reason": "why",
        "ticket": "",
        "break_glass": False,
    }
    assert len(sent.headers["Idempotency-Key"]) == 32


def test_request_when_nobody_confirms_is_not_sent(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    ended = jit("request", "shop", "-t", "sales.orders", "-r", "why")
    assert ended.status == 2
    assert "--yes" in ended.said
    assert not signed_in.asked("POST /requests")


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [(["-t", "a.b", "-r", "x"], "database"), (["shop", "-r", "x"], "--table"), (["shop", "-t", "a.b"], "--reason")],
)
def test_request_when_something_is_missing(jit: Jit, signed_in: FakePortal, arguments: list[str], missing: str) -> None:
    ended = jit("request", *arguments, "--yes")
    assert ended.status == 2
    assert missing in ended.said


def test_request_when_a_policy_denies_is_not_sent(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    signed_in.answers["POST /requests/preview"] = (200, preview(outcome="deny", reasons=["No card data."], route=[]))
    ended = jit("request", "shop", "-t", "a.b", "-r", "x", "--yes")
    assert ended.status == 5
    assert "No card data." in ended.said
    assert not signed_in.asked("POST /requests")


def test_request_when_the_answer_is_lost_is_sent_again_with_the_same_key(
    jit: Jit, signed_in: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    usable(signed_in)

    def lose(call: Call) -> None:
        call.handler.close_connection = True
        call.handler.connection.shutdown(socket.SHUT_RDWR)

    signed_in.answers["POST /requests"] = [lose, (201, request())]
    assert jit("request", "shop", "-t", "a.b", "-r", "x", "--yes").status == 0
    first, second = signed_in.asked("POST /requests")
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_wait_until_it_is_usable(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    ended = jit("wait", "rrrrrrrrrr", "--json")
    assert ended.status == 0
    assert json.loads(ended.out)["status"] == "active"


def test_wait_when_it_is_for_the_console_says_where(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    signed_in.answers["GET /grants/gggggggggg"] = (200, grant(connection="console"))
    assert "/grants/gggggggggg/" in jit("wait", "rrrrrrrrrr").said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (request(status="denied", closed_reason="Ask for less."), "was denied: Ask for less."),
        (request(status="lapsed"), "was not decided in time"),
        (request(status="cancelled"), "was taken back"),
    ],
)
def test_wait_when_it_comes_to_nothing(jit: Jit, signed_in: FakePortal, row: dict[str, Any], said: str) -> None:
    signed_in.answers["GET /requests/rrrrrrrrrr"] = (200, row)
    ended = jit("wait", "rrrrrrrrrr")
    assert ended.status == 7
    assert said in ended.said


def test_wait_when_the_access_fails(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    signed_in.answers["GET /grants/gggggggggg"] = (200, grant(status="failed", problem="It reaches a card number."))
    ended = jit("wait", "rrrrrrrrrr")
    assert ended.status == 7
    assert "It reaches a card number." in ended.said


def test_wait_when_it_takes_too_long(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers["GET /requests/rrrrrrrrrr"] = (200, request())
    ended = jit("wait", "rrrrrrrrrr", "--timeout", "0")
    assert ended.status == 8
    assert "stays asked" in ended.said


def test_wait_when_the_network_is_away_meanwhile(
    jit: Jit, signed_in: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    usable(signed_in)

    def drop(call: Call) -> None:
        call.handler.close_connection = True
        call.handler.connection.shutdown(socket.SHUT_RDWR)

    done = request(status="approved", grant={"id": "gggggggggg", "status": "active"})
    signed_in.answers["GET /requests/rrrrrrrrrr"] = [drop, drop, drop, drop, (200, done)]
    assert jit("wait", "rrrrrrrrrr").status == 0


# Using


@pytest.fixture
def program(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `psql` that writes down how it was called."""
    folder = home / "bin"
    folder.mkdir()
    seen = home / "seen.json"
    script = folder / "psql"
    script.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"json.dump({{'argv': sys.argv, 'env': dict(os.environ)}}, open({str(seen)!r}, 'w'))\n"
        "sys.exit(int(os.environ.get('ENDS_WITH', '0')))\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return seen


def test_psql_when_there_is_access_uses_it(
    jit: Jit, signed_in: FakePortal, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable(signed_in)
    signed_in.answers |= {"GET /grants": page(grant()), "GET /grants/gggggggggg": (200, grant())}
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    monkeypatch.setenv("ENDS_WITH", "3")
    ended = jit("psql", "shop", "--", "-c", "select 1")
    assert ended.status == 3
    assert not signed_in.asked("POST /requests")
    seen = json.loads(program.read_text())
    assert seen["argv"][1:] == ["-c", "select 1"]
    assert CREDENTIAL["password"] not in str(seen["argv"])
    env = seen["env"]
    assert (env["PGUSER"], env["PGPASSWORD"]) == (CREDENTIAL["username"], CREDENTIAL["password"])
    assert (env["PGHOST"], env["PGPORT"], env["PGDATABASE"]) == ("127.0.0.1", "5433", "shop")
    assert env["PGSSLMODE"] == "verify-full"
    assert "PGSERVICE" not in env
    assert "JIT_TOKEN" not in env
    assert CREDENTIAL["password"] not in ended.out + ended.err
    assert "jit release gggggggggg" in ended.said


def test_psql_when_there_is_none_asks_waits_and_gives_back(jit: Jit, signed_in: FakePortal, program: Path) -> None:
    usable(signed_in)
    ended = jit("psql", "shop", "-t", "sales.orders", "-r", "why", "--yes", "--release")
    assert ended.status == 0, ended
    assert program.exists()
    assert signed_in.asked("POST /grants/gggggggggg/release")
    assert "Given back" in ended.said


def test_psql_when_it_cannot_be_given_back_ends_as_psql_did(
    jit: Jit, signed_in: FakePortal, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable(signed_in)
    monkeypatch.setenv("ENDS_WITH", "7")
    signed_in.answers["GET /grants"] = page(grant())
    signed_in.answers["POST /grants/gggggggggg/release"] = (409, problem(409, "It has ended already."))
    ended = jit("psql", "shop", "--release")
    assert ended.status == 7
    assert "It has ended already." in ended.said


def test_psql_when_asked_already_waits_for_that(jit: Jit, signed_in: FakePortal, program: Path) -> None:
    usable(signed_in)
    signed_in.answers["GET /requests"] = page(request())
    assert jit("psql", "shop", "-r", "why").status == 0
    assert not signed_in.asked("POST /requests")


def test_psql_when_the_access_covers_what_is_named(jit: Jit, signed_in: FakePortal, program: Path) -> None:
    usable(signed_in)
    signed_in.answers |= {"GET /grants": page(grant()), "GET /requests/rrrrrrrrrr": (200, request(status="approved"))}
    signed_in.answers["GET /grants/gggggggggg"] = (200, grant())
    assert jit("psql", "shop", "-t", "sales.orders", "-r", "why").status == 0
    assert not signed_in.asked("POST /requests/preview")
    for more in (["-t", "sales.customers"], ["-t", "sales.*"], ["--level", "change"], ["--unmask", "a.b.c"], ["--new"]):
        assert jit("psql", "shop", "-t", "sales.orders", "-r", "why", *more).status == 2  # nobody confirms
    assert len(signed_in.asked("POST /requests/preview")) == 5


def test_psql_when_it_is_not_installed_asks_for_nothing(
    jit: Jit, signed_in: FakePortal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    ended = jit("psql", "shop")
    assert ended.status == 2
    assert "not on this machine" in ended.said
    assert signed_in.calls == []


def test_run_when_there_is_one_access(jit: Jit, signed_in: FakePortal, program: Path) -> None:
    usable(signed_in)
    signed_in.answers |= {"GET /grants": page(grant()), "GET /grants/gggggggggg": (200, grant(status="ended"))}
    ended = jit("run", "--", "psql", "--json", "-t")
    assert ended.status == 0
    assert json.loads(program.read_text())["argv"][1:] == ["--json", "-t"]
    assert "has ended" in ended.said


def test_run_when_it_is_not_clear_which(jit: Jit, signed_in: FakePortal, program: Path) -> None:
    signed_in.answers["GET /grants"] = page(grant(), grant(id="hhhhhhhhhh", database="other"))
    ended = jit("run", "--", "psql")
    assert ended.status == 2
    assert "hhhhhhhhhh (other)" in ended.said
    signed_in.answers["GET /grants"] = page(grant(holder="bob"), grant(connection="console"))
    assert jit("run", "--", "psql").status == 7
    assert jit("run", "-a", "shop", "--", "psql").status == 7


def test_run_when_the_program_dies_of_a_signal(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    signed_in.answers |= {"GET /grants": page(grant()), "GET /grants/gggggggggg": (200, grant())}
    assert jit("run", "--", "sh", "-c", "kill -TERM $$").status == 128 + 15


def test_environment_when_the_caller_has_its_own() -> None:
    env = environment(CREDENTIAL, {"HOME": "/h", "PGPASSFILE": "/x", "PGHOSTADDR": "10.0.0.1", "PGUSER": "me"})
    assert env["HOME"] == "/h"
    assert not {"PGPASSFILE", "PGHOSTADDR"} & set(env)
    assert env["PGUSER"] == CREDENTIAL["username"]


# Reading


def test_query_shows_rows(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers |= {
        "GET /grants": page(grant(connection="console")),
        "POST /grants/gggggggggg/query": (
            200,
            {
                "columns": [{"name": "id", "type": "integer"}, {"name": "note", "type": "text"}],
                "rows": [["1", None], ["2", ""], ["3", "<script>\x1b[31m[bold]"]],
                "truncated": True,
                "elapsed_ms": 4,
            },
        ),
    }
    ended = jit("query", "shop", "select 1")
    assert ended.status == 0, ended
    assert "NULL" in ended.out
    assert "<script>�[31m[bold]" in ended.out
    assert "3 rows, 4 ms" in ended.said
    assert "There are more rows" in ended.said
    assert signed_in.asked("POST /grants/gggggggggg/query")[0].body == {"sql": "select 1"}


def test_query_when_there_are_several_accesses_tells_them_apart(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers["GET /grants"] = page(grant(), grant(id="hhhhhhhhhh", connection="console"))
    ended = jit("query", "shop", "select 1")
    assert ended.status == 2
    assert "gggggggggg (direct," in ended.said
    assert "hhhhhhhhhh (console," in ended.said


def test_query_when_a_value_or_a_name_has_lines_shows_one_row(jit: Jit, signed_in: FakePortal) -> None:
    answer = {
        "columns": [{"name": "[/]a\nb", "type": "text"}],
        "rows": [["one  \n  two\r\nthree"]],
        "truncated": False,
        "elapsed_ms": 4,
    }
    signed_in.answers |= {"GET /grants": page(grant()), "POST /grants/gggggggggg/query": (200, answer)}
    shown = [line.rstrip() for line in jit("query", "shop", "select 1").out.splitlines()]
    assert (shown[0], shown[-1], len(shown)) == ("[/]a b", "one  ⏎  two⏎three", 3)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("email", "first letter and domain"),
        ("partial(1,4)", "first character and last 4 characters"),
        ("partial(0,2)", "last 2 characters"),
        ("bucket(1000)", "rounded down to a multiple of 1,000"),
        ("date(month)", "year and month only"),
        ("hidden", "hidden"),
        ("of tomorrow\x1b[31m", "of tomorrow�[31m"),
    ],
)
def test_mask_is_said_in_words(mask: str, said: str) -> None:
    assert words.mask(mask) == said


def test_query_when_the_statement_is_wrong_shows_the_place(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers |= {
        "GET /grants": page(grant()),
        "POST /grants/gggggggggg/query": (422, problem(422, "column does not exist", position=16)),
    }
    ended = jit("query", "shop", "select 1,\n      nme from t")
    assert ended.status == 5
    assert "        nme from t\n        ^\n" in ended.err


def test_query_when_a_value_is_cut_says_so(jit: Jit, signed_in: FakePortal) -> None:
    answer = {
        "columns": [{"name": "id", "type": "integer"}, {"name": "doc", "type": "text"}],
        "rows": [["1", "xxx"]],
        "cut": [{"row": 0, "column": 1, "bytes": 5_000_000}],
        "truncated": True,
        "sentence": "There are more rows than a page shows.",
        "elapsed_ms": 4,
    }
    signed_in.answers |= {"GET /grants": page(grant()), "POST /grants/gggggggggg/query": (200, answer)}
    ended = jit("query", "shop", "select 1")
    assert "Row 1, doc: only the beginning of 5.0 MB is shown." in ended.said
    assert "There are more rows than a page shows." in ended.said


CHANGED = {
    "results": [{"columns": [], "rows": [], "truncated": False, "affected": 2, "tag": "UPDATE 2", "elapsed_ms": 3}],
    "failed": None,
    "committed": False,
    "affected": 2,
    "why": None,
    "sentence": "Rolled back, as it was to be tried out: 2 rows.",
}


def test_change_when_it_is_not_said_to_commit(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers |= {"GET /grants": page(grant()), "POST /grants/gggggggggg/change": (200, CHANGED)}
    ended = jit("change", "shop", "update t set a = 1", "--expect-rows", "2")
    assert (ended.status, "2 rows affected, 3 ms" in ended.said, "Rolled back" in ended.said) == (0, True, True)
    (call,) = signed_in.asked("POST /grants/gggggggggg/change")
    assert call.body == {"sql": "update t set a = 1", "commit": False, "expected_rows": 2}


@pytest.mark.parametrize("came", [{"committed": None}, {"failed": {"sentence": "The database said no."}}])
def test_change_when_it_was_to_be_committed_and_was_not(jit: Jit, signed_in: FakePortal, came: dict[str, Any]) -> None:
    signed_in.answers |= {"GET /grants": page(grant()), "POST /grants/gggggggggg/change": (200, CHANGED | came)}
    assert jit("change", "shop", "update t set a = 1", "--commit").status == 1
    assert jit("change", "shop", "update t set a = 1", "--commit", "--json").status == 1


def test_change_when_its_answer_does_not_come(jit: Jit, signed_in: FakePortal) -> None:
    """It may be done: nobody is told to just try again."""

    def breaks_off(call: Call) -> None:
        call.handler.close_connection = True
        call.handler.connection.shutdown(socket.SHUT_RDWR)

    signed_in.answers |= {"GET /grants": page(grant()), "POST /grants/gggggggggg/change": breaks_off}
    ended = jit("change", "shop", "update t set a = a + 1", "--commit")
    assert ended.status == 6
    assert "may be done" in ended.said
    assert "/grants/gggggggggg/console/" in ended.said
    assert "then try again" not in ended.said
    (call,) = signed_in.asked("POST /grants/gggggggggg/change")
    assert len(call.headers["Idempotency-Key"]) == 32


@pytest.mark.parametrize(("running", "cancelled"), [(1, 1), (2, 0), (0, 0)])
def test_run_when_it_is_interrupted(signed_in: FakePortal, running: int, cancelled: int) -> None:
    """Where several run, nobody knows which: none of them is cancelled."""
    past = [{"id": f"s{number}", "status": "running"} for number in range(running)] + [{"id": "x", "status": "done"}]
    signed_in.answers |= {
        "GET /grants/gggggggggg/statements": page(*past),
        "POST /statements/s0/cancel": (200, {}),
    }
    portal = Portal(signed_in.url, "token")

    def interrupted(*_: Any, **__: Any) -> Any:
        portal._json = plain  # type: ignore[method-assign]
        raise KeyboardInterrupt

    plain = portal._json
    portal._json = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        portal.run({"id": "gggggggggg"}, "query", {"sql": "select 1"})
    assert len(signed_in.asked("POST /statements/s0/cancel")) == cancelled


@pytest.fixture
def approved(signed_in: FakePortal) -> FakePortal:
    """Access for one statement."""
    signed_in.answers |= {
        "GET /grants": page(grant(connection="console")),
        "GET /requests/rrrrrrrrrr": (200, {"statement": "UPDATE t SET a = 1", "expected_rows": 2}),
        "POST /grants/gggggggggg/explain": (200, {"plan": ["Update on t  (cost=0.00)"]}),
        "POST /grants/gggggggggg/run": (200, CHANGED | {"committed": True, "sentence": "Committed: 2 rows affected."}),
    }
    return signed_in


def test_apply_shows_the_plan_first(jit: Jit, approved: FakePortal) -> None:
    ended = jit("apply", "shop", "--yes")
    assert ended.status == 0, ended
    said = [ended.said.index(text) for text in ("UPDATE t SET a = 1", "Update on t", "2 rows are", "Committed")]
    assert said == sorted(said)
    assert len(approved.asked("POST /grants/gggggggggg/run")) == 1


def test_apply_when_the_statement_has_lines_sets_them_in(jit: Jit, approved: FakePortal) -> None:
    """So that none of them passes for a sentence of the command, nor a line of the plan for two."""
    script = f"UPDATE t SET a = 1\nRolled back unless 9 rows are affected. {'x' * 300}"
    approved.answers["GET /requests/rrrrrrrrrr"] = (200, {"statement": script, "expected_rows": 2})
    approved.answers["POST /grants/gggggggggg/explain"] = (200, {"plan": ["Update on t", "  ->  Scan\nCommitted"]})
    lines = jit("apply", "shop", "--plan").err.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == ["Rolled back unless 2 rows are affected."]
    assert "    ->  Scan⏎Committed" in lines


def test_apply_when_nobody_confirms_does_not_run(jit: Jit, approved: FakePortal) -> None:
    assert jit("apply", "shop").status == 2
    assert jit("apply", "shop", "--plan").status == 0
    assert approved.asked("POST /grants/gggggggggg/run") == []


WITHOUT_A_PLAN = problem(
    422, 'The database said no: syntax error at or near "DO".', why="sql", sqlstate="42601", position=0
)


def test_apply_when_there_can_be_no_plan_says_so_and_goes_on(jit: Jit, approved: FakePortal) -> None:
    script = "DO $$ BEGIN UPDATE t SET a = 1; END $$"
    approved.answers["GET /requests/rrrrrrrrrr"] = (200, {"statement": script, "expected_rows": None})
    approved.answers["POST /grants/gggggggggg/explain"] = (422, WITHOUT_A_PLAN)
    ended = jit("apply", "shop")
    assert (ended.status, "There is no plan" in ended.said, script in ended.said) == (2, True, True)
    assert approved.asked("POST /grants/gggggggggg/run") == []
    ended = jit("apply", "shop", "--yes")
    assert (ended.status, "Committed" in ended.said) == (0, True)
    assert json.loads(jit("apply", "shop", "--yes", "--json").out)["committed"] is True
    assert len(approved.asked("POST /grants/gggggggggg/run")) == 2


def test_apply_when_only_the_plan_is_wanted_and_there_is_none(jit: Jit, approved: FakePortal) -> None:
    approved.answers["POST /grants/gggggggggg/explain"] = (422, WITHOUT_A_PLAN)
    for more in ([], ["--json"]):
        ended = jit("apply", "shop", "--plan", "--yes", *more)
        assert (ended.status, "syntax error" in ended.said) == (5, True)
    assert approved.asked("POST /grants/gggggggggg/run") == []


@pytest.mark.parametrize(
    ("answer", "exit_status"),
    [
        ((422, problem(422, "This access does not reach that.", why="sql", sqlstate="42501")), 5),
        ((422, problem(422, "It took longer than a statement may here.", why="time", sqlstate="57014")), 5),
        ((409, problem(409, "The approved statement has been run: it runs once.")), 5),
        ((503, problem(503, "The connection to the database was lost.")), 1),
    ],
)
def test_apply_when_the_plan_is_refused_does_not_run(
    jit: Jit, approved: FakePortal, answer: Any, exit_status: int
) -> None:
    approved.answers["POST /grants/gggggggggg/explain"] = answer
    ended = jit("apply", "shop", "--yes")
    assert ended.status == exit_status
    assert answer[1]["detail"] in ended.said
    assert approved.asked("POST /grants/gggggggggg/run") == []


def test_apply_when_no_statement_was_approved(jit: Jit, approved: FakePortal) -> None:
    approved.answers["GET /requests/rrrrrrrrrr"] = (200, {"statement": "", "expected_rows": None})
    ended = jit("apply", "shop", "--yes")
    assert (ended.status, "jit change gggggggggg" in ended.said) == (5, True)
    assert approved.asked("POST /grants/gggggggggg/run") == []


def chunked(*pieces: bytes, whole: bool = True, statement: str = "") -> Callable[[Call], None]:
    def answer(call: Call) -> None:
        handler = call.handler
        handler.send_response(200)
        handler.send_header("Content-Type", "text/csv")
        handler.send_header("Content-Disposition", 'attachment; filename="../../evil.csv"')
        handler.send_header("Transfer-Encoding", "chunked")
        if statement:
            handler.send_header("X-Statement", statement)
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)

    return answer


@pytest.fixture
def exporting(signed_in: FakePortal) -> FakePortal:
    signed_in.answers["GET /grants"] = page(grant())
    signed_in.answers["POST /grants/gggggggggg/export"] = chunked(b"id\n1\n", b"2\r\n\xff\x00")
    return signed_in


def test_export_writes_the_bytes_as_they_are(jit: Jit, exporting: FakePortal, home: Path) -> None:
    ended = jit("export", "shop", "select 1", "-o", "out.csv", "-f", "jsonl")
    assert ended.status == 0, ended
    assert (home / "out.csv").read_bytes() == b"id\n1\n2\r\n\xff\x00"
    assert sorted(path.name for path in home.iterdir()) == ["out.csv"]
    assert exporting.asked("POST /grants/gggggggggg/export")[0].query == {"format": ["jsonl"]}


def test_export_when_it_breaks_off_leaves_nothing(jit: Jit, exporting: FakePortal, home: Path) -> None:
    (home / "out.csv").write_text("before")
    exporting.answers["POST /grants/gggggggggg/export"] = chunked(b"id\n1\n", whole=False)
    ended = jit("export", "shop", "select 1", "-o", "out.csv", "--force")
    assert ended.status == 6
    assert "broke off" in ended.said
    assert (home / "out.csv").read_text() == "before"
    assert sorted(path.name for path in home.iterdir()) == ["out.csv"]


FAILED = {"statement": "ssssssssss", "status": "failed", "sentence": "The database said no (22012)."}


def test_export_when_the_statement_fails_in_the_middle_says_why(jit: Jit, exporting: FakePortal, home: Path) -> None:
    exporting.answers["POST /grants/gggggggggg/export"] = chunked(b"id\n1\n", whole=False, statement="ssssssssss")
    exporting.answers["GET /statements/ssssssssss"] = (200, FAILED)
    ended = jit("export", "shop", "select 1", "-o", "out.csv")
    assert (ended.status, "The database said no (22012)." in ended.said) == (5, True)
    assert "cannot be reached" not in ended.said
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("ssssssssss", (404, problem(404, "Nothing here."))),
        ("ssssssssss", (200, FAILED | {"status": "running", "sentence": ""})),
        ("ssssssssss", (200, FAILED | {"status": "cancelled", "sentence": "The reader went away."})),
        ("../ssssssssss", (200, FAILED)),
    ],
)
def test_export_when_it_breaks_off_and_why_is_not_known(
    jit: Jit, exporting: FakePortal, home: Path, statement: str, answer: Any
) -> None:
    exporting.answers["POST /grants/gggggggggg/export"] = chunked(b"id\n1\n", whole=False, statement=statement)
    exporting.answers["GET /statements/ssssssssss"] = answer
    ended = jit("export", "shop", "select 1", "-o", "out.csv")
    assert (ended.status, "broke off" in ended.said) == (6, True)
    assert not list(home.iterdir())


def test_export_when_its_end_is_not_marked_is_refused(jit: Jit, exporting: FakePortal, home: Path) -> None:
    def unmarked(call: Call) -> None:
        call.handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nid\n1\n")
        call.handler.close_connection = True

    exporting.answers["POST /grants/gggggggggg/export"] = unmarked
    ended = jit("export", "shop", "select 1", "-o", "out.csv")
    assert ended.status == 1
    assert not list(home.iterdir())


def test_export_when_the_portal_refuses(jit: Jit, exporting: FakePortal, home: Path) -> None:
    exporting.answers["POST /grants/gggggggggg/export"] = (403, problem(403, "This access is for reading only."))
    ended = jit("export", "shop", "select 1", "-o", "out.csv")
    assert ended.status == 4
    assert "for reading only" in ended.said
    assert "jit request shop --level export" in ended.said
    assert not list(home.iterdir())


def test_export_when_the_file_is_there_is_refused(jit: Jit, exporting: FakePortal, home: Path) -> None:
    (home / "out.csv").write_text("before")
    assert jit("export", "shop", "select 1", "-o", "out.csv").status == 2
    assert jit("export", "shop", "select 1", "-o", "nowhere/out.csv").status == 2
    assert exporting.asked("POST /grants/gggggggggg/export") == []


def test_export_to_a_pipe(jit: Jit, exporting: FakePortal) -> None:
    exporting.answers["POST /grants/gggggggggg/export"] = chunked(b"id\n1\n")
    assert jit("export", "shop", "select 1").out == "id\n1\n"


# Ending and deciding


def test_release_by_the_name_of_the_database(jit: Jit, signed_in: FakePortal) -> None:
    usable(signed_in)
    signed_in.answers["GET /grants"] = page(grant())
    assert jit("release", "shop", "-r", "done").status == 0
    assert signed_in.asked("POST /grants/gggggggggg/release")[0].body == {"reason": "done"}


def test_extend_and_wait(jit: Jit, signed_in: FakePortal) -> None:
    longer = request(id="eeeeeeeeee", extends="rrrrrrrrrr", minutes=30)
    signed_in.answers |= {
        "GET /grants": page(grant()),
        "POST /grants/gggggggggg/extend": (201, longer),
        "GET /requests/eeeeeeeeee": [
            (200, longer),
            (200, {**longer, "status": "approved", "extension": "queued"}),
            (200, {**longer, "status": "approved", "extension": "applied"}),
        ],
    }
    ended = jit("extend", "gggggggggg", "-m", "30", "-r", "more", "--wait")
    assert ended.status == 0, ended
    assert "30 min longer" in ended.said
    assert signed_in.asked("POST /grants/gggggggggg/extend")[0].body == {"minutes": 30, "reason": "more"}


def test_approve_shows_the_request_first(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers |= {
        "GET /requests/rrrrrrrrrr": (200, request(requester="bob", unmask=["sales.customers.email"])),
        "POST /requests/rrrrrrrrrr/approve": (200, request(status="approved")),
    }
    ended = jit("approve", "rrrrrrrrrr")
    assert ended.status == 2
    assert "sales.customers.email" in ended.out
    assert "Two reports differ" in ended.out
    assert not signed_in.asked("POST /requests/rrrrrrrrrr/approve")
    ended = jit("approve", "rrrrrrrrrr", "--yes", "-m", "10", "--mask-all", "-c", "less")
    assert ended.status == 0
    sent = signed_in.asked("POST /requests/rrrrrrrrrr/approve")[0].body
    assert sent == {"comment": "less", "minutes": 10, "unmask": []}


def test_deny_says_why(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers |= {
        "GET /requests/rrrrrrrrrr": (200, request(requester="bob")),
        "POST /requests/rrrrrrrrrr/deny": (200, request(status="denied")),
    }
    assert jit("deny", "rrrrrrrrrr", "--yes").status == 2
    assert jit("deny", "rrrrrrrrrr", "--yes", "-c", "too much", "--json").status == 0
    assert signed_in.asked("POST /requests/rrrrrrrrrr/deny")[0].body == {"comment": "too much"}


def test_revoke_asks_for_a_reason(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers |= {
        "GET /grants/gggggggggg": (200, grant(holder="bob")),
        "POST /grants/gggggggggg/revoke": (200, grant(holder="bob", status="ending")),
    }
    assert jit("revoke", "gggggggggg", "--yes").status == 2
    ended = jit("revoke", "gggggggggg", "--yes", "-r", "leak")
    assert ended.status == 0
    assert "of bob is ending" in ended.said


def test_status_shows_what_is_mine_and_what_may_wait_for_me(jit: Jit, signed_in: FakePortal) -> None:
    signed_in.answers |= {
        "GET /grants": [page(), page(grant(), grant(id="hhhhhhhhhh", holder="bob")), page()],
        "GET /requests": page(request(), request(id="oooooooooo", requester="bob", reason="a fix")),
    }
    ended = jit("status")
    assert ended.status == 0, ended
    assert "gggggggggg" in ended.out
    assert "hhhhhhhhhh" not in ended.out
    assert "oooooooooo" in ended.out


def test_help_reads_well(jit: Jit) -> None:
    ended = jit("--help")
    assert ended.status == 0
    for command in ("login", "psql", "run", "request", "wait", "approve", "deny", "export", "extend", "release"):
        assert f" {command} " in ended.out
    assert jit("nonsense").status == 2
    assert jit("--version").out.startswith("jit ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.9, "59 s"), (61, "1 min"), (3700, "1 h 1 min"), (7200, "2 h"), (259_200, "3 days")],
)
def test_spans_are_words(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_route_when_it_is_done_waits_for_the_portal() -> None:
    step = {"kind": "owner", "group": None, "needed": 1, "approved_by": ["dana"], "eligible": 1}
    assert words.waits_for([step]) == "the portal"
    group = {"kind": "group", "group": "security", "needed": 2, "approved_by": [], "eligible": 4, "people": []}
    assert words.waits_for([step, group]) == "2 of the group security"
    assert ALICE["username"] == "alice"
