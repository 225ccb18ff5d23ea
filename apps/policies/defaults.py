"""The rules that a new portal starts with, as data. First match decides; what none covers takes the strictest route."""

from typing import Any, Final

_SECURITY: Final = {"kind": "group", "group": "security", "needed": 1}
_OWNER: Final = {"kind": "owner", "group": None, "needed": 1}
_PEER: Final = {"kind": "peer", "group": None, "needed": 1}

WORKING_DAY: Final = 8 * 60

DEFAULT_RULES: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "no longer than a working day",
        "longer_than_minutes": WORKING_DAY,
        "outcome": "deny",
    },
    {
        # PCI DSS 7.2.6: nothing limits what a native client takes along.
        "name": "no unmasked cards outside the console",
        "connections": ["direct"],
        "unmask": True,
        "unmask_classes": ["card"],
        "outcome": "deny",
    },
    {
        "name": "staging: read what is not classified for an hour",
        "environments": ["staging"],
        "levels": ["query"],
        "classified": False,
        "unmask": False,
        "at_most_minutes": 60,
        "outcome": "approve",
        "max_minutes": 60,
    },
    {
        "name": "production: change or export",
        "environments": ["production"],
        "levels": ["change", "export"],
        "outcome": "route",
        "steps": [_PEER, _OWNER, _SECURITY],
        "max_minutes": WORKING_DAY,
    },
    {
        "name": "production: unmask",
        "environments": ["production"],
        "unmask": True,
        "outcome": "route",
        "steps": [_PEER, _OWNER],  # and a data owner, who is asked whatever a rule says
        "max_minutes": WORKING_DAY,
    },
    {
        "name": "production: read",
        "environments": ["production"],
        "outcome": "route",
        "steps": [_PEER, _OWNER],
        "max_minutes": WORKING_DAY,
    },
    {
        "name": "staging and development: everything else",
        "environments": ["staging", "development"],
        "outcome": "route",
        "steps": [_OWNER],
        "max_minutes": WORKING_DAY,
    },
)
