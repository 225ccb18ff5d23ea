"""A witness that misbehaves, on a real socket: whatever it does, it takes a moment and ends in a sentence."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from apps.audit import anchors
from apps.audit.anchors import AnchorError, anchor_at

Behaviour = Callable[[socket.socket, threading.Event], None]


def answering(raw: bytes) -> Behaviour:
    def behave(client: socket.socket, over: threading.Event) -> None:
        client.recv(65_536)
        client.sendall(raw)

    return behave


def silent(client: socket.socket, over: threading.Event) -> None:
    over.wait()


def dripping(client: socket.socket, over: threading.Event) -> None:
    """A byte now and then: every wait on the socket alone is short."""
    client.recv(65_536)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not over.wait(0.02):
        client.sendall(b"x")


def dripping_headers(client: socket.socket, over: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.02):
        client.sendall(b"X")


def http(status: str, body: bytes, *headers: str) -> Behaviour:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return answering("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Behaviour], str]]:
    """The address of somebody who behaves like that to everybody who comes."""
    monkeypatch.setattr(anchors, "_SECONDS", 0.4)
    over = threading.Event()
    with ExitStack() as stack:
        threads: list[threading.Thread] = []

        def serve(listener: socket.socket, behave: Behaviour) -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, suppress(OSError):
                        behave(client, over)

        def make(behave: Behaviour) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=serve, args=(listener, behave), daemon=True)
            thread.start()
            threads.append(thread)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return f"http://127.0.0.1:{listener.getsockname()[1]}/portal"

        yield make
        over.set()
    for thread in threads:
        thread.join(timeout=10)


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (silent, "."),
        (dripping, "."),
        (dripping_headers, "."),
        (answering(b""), "."),
        (answering(b"SSH-2.0-OpenSSH_9\r\n"), "."),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"), "."),
        (answering(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_000 + b"\r\n"), "."),
        (http("200 OK", b"<html>"), "something else than a witness"),
        (http("200 OK", b"[]"), "something else than a witness"),
        (http("200 OK", b"{}"), "something else than a witness"),
        (http("200 OK", b'{"note": 1, "reached": 0}'), "something else than a witness"),
        (http("200 OK", b'{"note": null, "reached": true}'), "something else than a witness"),
        (http("200 OK", b'{"note": null, "reached": -1}'), "something else than a witness"),
        (http("200 OK", b'{"note": "' + b"x" * 200_000 + b'"}'), "something else than a witness"),
        (http("302 Found", b"{}", "Location: http://127.0.0.1:1/"), "refuses (302)"),
        (http("503 Down", b'{"problem": "full"}'), "refuses (503): full"),
        (http("502 Bad", b"<html>"), "502"),
    ],
)
def test_ask_when_a_witness_misbehaves_ends_soon_and_in_a_sentence(
    behave: Behaviour, said: str, at: Callable[[Behaviour], str]
) -> None:
    witness = anchor_at(at(behave))
    for ask in (lambda: witness.last(is_new=False), lambda: witness.put("note", 1, lambda *_: bytes(32))):
        with pytest.raises(AnchorError) as error:
            ask()
        assert said in str(error.value) or said == "."
        assert str(error.value)


def test_ask_when_nobody_listens_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(AnchorError, match="refused"):
        anchor_at(f"http://127.0.0.1:{port}/").last(is_new=True)


def test_ask_when_the_certificate_is_of_nobody_refuses(at: Callable[[Behaviour], str]) -> None:
    address = at(answering(b"no TLS at all")).replace("http://", "https://")
    with pytest.raises(AnchorError, match="SSL"):
        anchor_at(address).last(is_new=True)


def test_put_when_a_witness_takes_everything_sends_leaves_in_portions(
    at: Callable[[Behaviour], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "PORTION", 10)
    asked: list[tuple[int, int]] = []

    def leaves(first: int, end: int) -> bytes:
        asked.append((first, end))
        return bytes(32 * (end - first))

    anchor_at(at(http("200 OK", b'{"note": null, "reached": 3}'))).put("note", 25, leaves)
    assert asked == [(3, 13), (13, 23), (23, 25)]
