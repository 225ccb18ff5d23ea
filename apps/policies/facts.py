"""What a rule may look at, and what the policy answers. Pure values; they are kept with the request as JSON."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class StepKind(StrEnum):
    PEER = "peer"
    OWNER = "owner"
    DATA_OWNER = "data_owner"  # whoever owns the data: only they let a masked column be shown
    GROUP = "group"


@dataclass(frozen=True)
class Step:
    """`needed` distinct people out of one circle. `group` names the group of a GROUP step."""

    kind: StepKind
    needed: int = 1
    group: str | None = None

    @property
    def key(self) -> str:
        """How Facts.eligible names this circle: `peer`, `owner`, `group:security`."""
        return f"group:{self.group}" if self.kind is StepKind.GROUP else self.kind.value


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One request as the policy sees it."""

    requester: str  # opaque id
    environment: str
    level: str
    connection: str
    minutes: int
    tables: int
    whole_schemas: tuple[str, ...]  # schemas asked for with a wildcard
    classified_tables: tuple[str, ...]  # tables in scope that hold a confidential or restricted column
    highest_classification: str  # "" when nothing in scope is classified
    unmask: tuple[str, ...]  # 'schema.table.column', quoted where needed
    unmask_classes: tuple[str, ...]  # the data classes of those columns
    highest_unmask: str  # their highest classification; "" when nothing is to be unmasked
    unclassified: int  # columns in scope that nobody has classified and that are shown
    # Who could take each circle's step, the requester left out:
    # {"peer": (ids…), "owner": …, "data_owner": …, "group:security": …}
    eligible: dict[str, tuple[str, ...]]
    # Asked for at once, in an emergency, by somebody who may; and the longest access that there is without a yes.
    break_glass: bool = False
    break_glass_minutes: int = 0
    # Whether whoever asks has put an edit of theirs in the last days that widens access; see accounts.dual_control.
    widened_lately: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class RiskLevel(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Factor:
    # environment | level | classification | unmask | unclassified | direct | whole_schema | duration | break_glass |
    # widened_lately
    name: str
    weight: int
    why: str  # a sentence


@dataclass(frozen=True)
class Risk:
    level: RiskLevel
    factors: tuple[Factor, ...]


class Outcome(StrEnum):
    APPROVE = "approve"
    ROUTE = "route"
    DENY = "deny"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The policy's answer. `steps` is empty unless the outcome is ROUTE."""

    outcome: Outcome
    steps: tuple[Step, ...]
    risk: Risk
    rule: str  # name of the rule that decided; "" when none matched
    version: int
    max_minutes: int | None
    reasons: tuple[str, ...]  # sentences for the requester, the first says what happens next

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Verdict":
        """The inverse of to_json()."""
        return cls(
            outcome=Outcome(value["outcome"]),
            steps=tuple(Step(StepKind(s["kind"]), s["needed"], s["group"]) for s in value["steps"]),
            risk=Risk(RiskLevel(value["risk"]["level"]), tuple(Factor(**f) for f in value["risk"]["factors"])),
            rule=value["rule"],
            version=value["version"],
            max_minutes=value["max_minutes"],
            reasons=tuple(value["reasons"]),
        )
