"""Who is who in the demo (design §8)."""

from dataclasses import dataclass

STOREFRONT = "team-storefront"
BILLING = "team-billing"
OWNERS = "owners-shop"
DATA_OWNERS = "data-owners"
ON_CALL = "on-call"
TEAMS = (STOREFRONT, BILLING)
DUTIES = ("dba", "security", "auditor")  # groups named after the duty that they carry in the portal


@dataclass(frozen=True)
class Person:
    """What the identity provider says about somebody."""

    username: str
    name: str
    groups: tuple[str, ...]
    what: str  # for the sign-in page and the terminal

    @property
    def claims(self) -> dict[str, object]:
        return {
            "preferred_username": self.username,
            "name": self.name,
            "email": f"{self.username}@shop.example",
            "email_verified": True,
            "groups": list(self.groups),
        }


PEOPLE = (
    Person("alice", "Alice Archer", (STOREFRONT,), "developer, team storefront"),
    Person("bob", "Bob Becker", (STOREFRONT, ON_CALL), "developer, team storefront: alice's peer, on call"),
    Person("carol", "Carol Conti", (BILLING,), "developer, team billing"),
    Person("dana", "Dana Dubois", ("dba", OWNERS), "database administrator, owns the databases"),
    Person("sam", "Sam Santos", ("security", DATA_OWNERS), "security, owns the data in the databases"),
    Person("audrey", "Audrey Abel", ("auditor",), "auditor"),
)
