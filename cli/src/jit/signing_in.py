"""`jit login`, `logout`, `whoami`."""

import platform
import sys
import time
import webbrowser
from collections.abc import Callable
from getpass import getpass
from typing import Annotated, Any

import typer
from rich.text import Text

from jit import keeping, show, words
from jit.errors import Exit, Failure, Unreachable
from jit.options import Json, Url
from jit.portal import Portal

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_CLIENT = "jit"


def login(
    url: Url = None,
    token: Annotated[
        bool, typer.Option("--token", help="Read an API token from standard input instead of using the browser.")
    ] = False,
    scopes: Annotated[
        str, typer.Option("--scopes", help="What it may do: any of read request approve use audit.")
    ] = "read request approve use",
    browser: Annotated[bool, typer.Option(help="Open the page by itself.")] = True,
    json: Json = False,
) -> None:
    """Sign in: confirm a code in the browser, or hand over an API token."""
    where = keeping.url_of(url)
    plaintext = _given_token() if token else _by_device(where, scopes, browser=browser)
    person = Portal(where, plaintext).get("/me")
    kept = keeping.keep_token(where, plaintext)
    keeping.remember_url(where)
    if json:
        show.data(person)
    show.say(f"You are signed in to {where} as {person['username']} ({person['name']}).", style="green")
    show.say(f"The token is kept {kept}.", style="dim")


def logout(url: Url = None, json: Json = False) -> None:
    """End this machine's token, at the portal and here."""
    where = keeping.url_of(url)
    token = keeping.token_of(where)
    if not token:
        raise Failure(f"You are not signed in to {where}.", status=Exit.NOT_SIGNED_IN)
    keeping.forget_token(where)
    try:
        Portal(where, "").form("/device/revoke", {"token": token})
    except Unreachable as failure:
        failure.hint = "It is forgotten here. Revoke it in the portal under API tokens."
        raise
    if json:
        show.data({"revoked": True})
    show.say("You are signed out; the token works no more.")


def whoami(url: Url = None, json: Json = False) -> None:
    """Who you are to the portal, and what this machine may do."""
    person = Portal.signed_in(url).get("/me")
    if json:
        show.data(person)
        return
    show.facts(
        [
            ("Name", f"{person['name']} ({person['username']})"),
            ("Groups", ", ".join(words.line(name) for name in person["groups"])),
            ("Duties", ", ".join(person["duties"])),
            ("May", ", ".join(person["scopes"])),
            ("Portal", keeping.url_of(url)),
        ]
    )


def _given_token() -> str:
    """Never from the command line, which every process of this machine can read."""
    token = getpass("API token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise Failure("No token was given.", status=Exit.USAGE, hint="Pipe it in: jit login --token < file")
    return token.strip()


def _by_device(url: str, scopes: str, *, browser: bool) -> str:
    portal = Portal(url, "")
    asked = {"client_id": _CLIENT, "scope": " ".join(scopes.replace(",", " ").split()), "machine": platform.node()}
    status, made = portal.form("/device/code", asked)
    if status != 200 or "device_code" not in made:
        raise Failure(
            made.get("error_description") or f"{url} gives out no codes (it answered {status}).",
            status=Exit.REFUSED,
            hint="Is this the address of the portal? An API token works as well: jit login --token",
        )
    page = str(made.get("verification_uri_complete") or made["verification_uri"])
    if not page.startswith(f"{url}/"):
        raise Failure("The portal names a page of somebody else to confirm at.", status=Exit.FAILED)
    show.err.print(Text.assemble("Confirm the code ", (words.line(made["user_code"]), "bold"), " at"))
    show.err.print(Text(words.line(page), style="underline"), soft_wrap=True)
    if browser and show.interactive():
        webbrowser.open(page)
    with show.err.status("Waiting for your yes in the browser"):
        return _poll(portal, made, pause=time.sleep)


def _poll(portal: Portal, made: dict[str, Any], *, pause: Callable[[float], None]) -> str:
    every = float(made.get("interval", 5))
    until = time.monotonic() + float(made["expires_in"])
    body = {"grant_type": _GRANT, "client_id": _CLIENT, "device_code": str(made["device_code"])}
    while time.monotonic() < until:
        pause(every)
        try:
            status, answer = portal.form("/device/token", body)
        except Unreachable:
            continue
        if status == 200 and answer.get("access_token"):
            return str(answer["access_token"])
        error = answer.get("error")
        if error == "slow_down":
            every += 1
        elif error == "access_denied":
            raise Failure("You said no in the browser. Nothing was signed in.", status=Exit.NOT_SIGNED_IN)
        elif error != "authorization_pending" and status < 500:
            break
    raise Failure("The code was not confirmed in time.", status=Exit.NOT_SIGNED_IN, hint="Run `jit login` again.")
