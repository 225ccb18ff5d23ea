"""The portal's JSON API, as far as the command needs it. Every refusal is a Failure with the portal's own sentence."""

import json
import platform
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2

from jit import __version__, keeping
from jit.errors import Exit, Failure, Refused, Unknown, Unreachable

_TIMEOUT = httpx2.Timeout(30, connect=10)
# A statement may run for long; the portal ends it, or the grant does.
_RUN_TIMEOUT = httpx2.Timeout(connect=10, read=4 * 3600, write=30, pool=10)
_STREAM_TIMEOUT = httpx2.Timeout(connect=10, read=None, write=30, pool=10)
_TRIES = 3


class Portal:
    """One portal and the person who is signed in to it. Paths are relative to /api/v1."""

    def __init__(self, url: str, token: str, *, pause: float = 1.0) -> None:
        self.url = url
        self._pause = pause
        headers = {"User-Agent": f"jit/{__version__} ({platform.system()})", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # Redirects are not followed: the token is for this address alone. A proxy of the environment would read it in
        # plain http, which is for loopback; through https it sees a CONNECT and no more.
        self.http = httpx2.Client(
            base_url=url,
            headers=headers,
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=url.startswith("https:"),
        )
        weakref.finalize(self, self.http.close)

    @classmethod
    def signed_in(cls, said: str | None = None) -> "Portal":
        """Raises Failure where nobody has signed in."""
        url = keeping.url_of(said)
        token = keeping.token_of(url)
        if not token:
            raise Failure(
                f"You are not signed in to {url}.", status=Exit.NOT_SIGNED_IN, hint=f"Run `jit login --url {url}`."
            )
        return cls(url, token)

    def get(self, path: str, **query: Any) -> Any:
        """Asked again when the network fails: it changes nothing."""
        return self._again(lambda: self._json("GET", path, params={k: v for k, v in query.items() if v is not None}))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Once: whether a lost answer was a yes is not known."""
        return self._json("POST", path, json=body)

    def run(self, grant: dict[str, Any], what: str, body: dict[str, Any]) -> Any:
        """A statement under a grant: once, and for as long as it takes. Stopped here, it is cancelled there.

        Raises Unknown where the answer does not come.
        """
        path, key = f"/grants/{grant['id']}", {"Idempotency-Key": uuid.uuid4().hex}
        try:
            return self._json("POST", f"{path}/{what}", json=body, headers=key, timeout=_RUN_TIMEOUT)
        except Unreachable as error:
            raise Unknown(f"{self.url}{path}/console/", error) from error
        except KeyboardInterrupt:
            self._cancel_running(path)
            raise

    def _cancel_running(self, path: str) -> None:
        """Nobody reads on: the server need not either. Where several run it is not known which."""
        with suppress(Failure, KeyboardInterrupt):
            running = [one for one in self.get(f"{path}/statements")["items"] if one["status"] == "running"]
            if len(running) == 1:
                self.post(f"/statements/{running[0]['id']}/cancel", {})

    def create(self, path: str, body: dict[str, Any]) -> Any:
        """Made once, however often it is sent: a key tells the portal that it is the same."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        return self._again(lambda: self._json("POST", path, json=body, headers=key))

    def all(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    @contextmanager
    def stream(self, path: str, body: dict[str, Any], **query: Any) -> Iterator[httpx2.Response]:
        """An answer that is read piece by piece. Raises Unreachable when it breaks off."""
        with self._understood():
            wanted = {"Accept": "*/*"}
            request = self.http.build_request(
                "POST", f"/api/v1{path}", json=body, params=query, headers=wanted, timeout=_STREAM_TIMEOUT
            )
            answer = self.http.send(request, stream=True)
            try:
                if answer.status_code != httpx2.codes.OK:
                    answer.read()
                    raise _refusal(answer)
                yield answer
            finally:
                answer.close()

    def form(self, path: str, values: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """An OAuth endpoint: (status, answer)."""
        with self._understood():
            answer = self.http.post(path, data=values)
            if answer.is_redirect:
                raise _refusal(answer)
            return answer.status_code, _object(answer)

    def _json(self, method: str, path: str, **more: Any) -> Any:
        with self._understood():
            answer = self.http.request(method, f"/api/v1{path}", **more)
        if not answer.is_success:
            raise _refusal(answer)
        try:
            return answer.json()
        except ValueError as error:
            raise Failure(
                f"{self.url} answered something else than a portal does.", status=Exit.FAILED, hint="Check the address."
            ) from error

    def _again(self, ask: Any) -> Any:
        for left in range(_TRIES, 0, -1):
            try:
                return ask()
            except Unreachable:
                if left == 1:
                    raise
                time.sleep(self._pause)
        raise AssertionError

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            raise Unreachable(self.url, "it does not answer") from error
        except httpx2.RemoteProtocolError as error:
            raise Unreachable(self.url, "the connection broke off") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from error


def _refusal(answer: httpx2.Response) -> Failure:
    if answer.is_redirect:
        return Failure(
            f"The portal sends you elsewhere: {answer.headers.get('Location', '')}",
            status=Exit.FAILED,
            hint="Use that address: `jit login --url …`.",
        )
    return Refused(answer.status_code, _object(answer))


def _object(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = json.loads(answer.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
