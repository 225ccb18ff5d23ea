"""How much has come over a connection, and whether more is there to read."""

import fcntl
import select
import socket
import struct
import sys
import termios
from typing import Final

_BYTES_RECEIVED: Final = 128  # where struct tcp_info has tcpi_bytes_received


class Arrivals:
    """How many bytes have come, so that one row which never ends is noticed: libpq would take it all.

    Linux counts them; elsewhere what waits is added up whenever it is looked at, which is less than the truth.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket, self._sum = socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM), 1
        self._is_counted = sys.platform == "linux" and self._has_info()

    def _has_info(self) -> bool:
        try:
            return len(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)) >= _BYTES_RECEIVED + 8
        except OSError:  # no TCP
            return False

    def so_far(self) -> int:
        if self._is_counted:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            (counted,) = struct.unpack_from("Q", info, _BYTES_RECEIVED)
            return int(counted)
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, b"\0\0\0\0"))
        self._sum += int(waiting)
        return self._sum

    def close(self) -> None:
        self._socket.close()


def readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
