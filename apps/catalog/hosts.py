"""Which host a server may have: one name or one address, never a connection string (field notes W6). Pure."""

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from apps.core.errors import Invalid

_MAX_LENGTH: Final = 253  # of a name in DNS
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
# Names that systems give to their own loopback addresses; every name under `localhost` is one too (RFC 6761).
_LOOPBACK_NAMES: Final = frozenset(
    {"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "loopback", "localdomain"}
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


def check_host(host: str, *, loopback_allowed: bool) -> None:
    """Raise Invalid about `host` unless a server may have it."""
    address = _address(host)
    if address is None:
        _check_name(host)
    elif any(one.is_multicast or one == IPv4Address("255.255.255.255") for one in _meant(address)):
        raise Invalid(f"{host} is the address of many hosts, not of one server.", field="host")
    if not loopback_allowed and _is_near(host):
        raise Invalid(
            f"{host} leads to this very machine or its own link. An operator permits such targets "
            "with JITPORTAL_LOOPBACK_TARGETS=1.",
            field="host",
        )


def is_loopback(host: str) -> bool:
    """Whether what is sent to `host` surely never leaves this machine; stricter than what is refused as too near."""
    address = _address(host)
    if address is None:
        return host.lower() == "localhost"
    return all(one.is_loopback for one in _meant(address))


def _is_near(host: str) -> bool:
    """Loopback, link-local, or an address that a system may take for one of them."""
    address = _address(host)
    if address is None:
        return _is_loopback_name(host)
    return any(
        one.is_loopback or one.is_link_local or one.is_unspecified or _is_this_network(one) for one in _meant(address)
    )


def _address(host: str) -> IPv4Address | IPv6Address | None:
    _, percent, zone = host.partition("%")
    if percent and not _LABEL.fullmatch(zone):  # `ipaddress` takes anything for the name of an interface
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """An address and the IPv4 address inside it, where it stands for one. The inner one decides for a mapped one."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    inner = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(one for one in inner if one)]


def _is_this_network(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv4Address) and address in ipaddress.IPv4Network("0.0.0.0/8")


def _is_loopback_name(host: str) -> bool:
    labels = host.lower().split(".")
    return labels[0] in _LOOPBACK_NAMES or labels[-1] in _LOOPBACK_NAMES


def _check_name(host: str) -> None:
    if not host:
        raise Invalid("Name the server's host.", field="host")
    if len(host) > _MAX_LENGTH:
        raise Invalid(f"A host name has at most {_MAX_LENGTH} characters.", field="host")
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise Invalid(
            "A host is one name (db.example.com) or one address (192.0.2.7, 2001:db8::7): no list, port, path, "
            "option or connection string, and a name outside a–z in its xn-- form.",
            field="host",
        )
    # Systems read 127.1, 0x7f000001 and 2130706433 as addresses too, other ones than people do.
    if re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", labels[-1]):
        raise Invalid(f"{host} is not a whole address: write four numbers, as in 192.0.2.7.", field="host")
