"""What goes in and what comes out. Names and shapes are a contract (design §8)."""

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field, StrictBool, StrictInt

Text = Annotated[str, Field(max_length=10_000)]


class Body(Schema):
    """An unknown field is a mistake worth hearing about."""

    model_config = ConfigDict(extra="forbid")


class RequestIn(Body):
    database: Text
    level: Text
    tables: list[Text] = Field(max_length=50_000)
    unmask: list[Text] = Field(default=[], max_length=10_000)
    connection: Text
    minutes: StrictInt
    starts_at: datetime | None = None
    reason: Text
    ticket: Text = ""
    break_glass: StrictBool = False
    statement: Annotated[str, Field(max_length=20_000)] = Field(
        default="",
        description="Exact SQL, where the access is for that alone: approvers see it, and it runs once.",
        examples=["UPDATE sales.orders SET status = 'paid' WHERE id = 4711"],
    )
    expected_rows: StrictInt | None = Field(
        default=None, description="Of the statement: another number of affected rows rolls it back.", examples=[1]
    )


class FilterIn(Body):
    """Rows that are shown: `column operator values`, with one value, several for `in`, none for `is null`."""

    column: Text = Field(examples=["region"])
    operator: Literal["=", "<>", "<", "<=", ">", ">=", "in", "is null", "is not null"]
    values: list[Text] = Field(default=[], max_length=1_000, examples=[["EU"]])


class DecisionIn(Body):
    """What is left out stays as it was asked for. `filters` limit the rows of tables, further than they are already."""

    comment: Text = ""
    minutes: StrictInt | None = None
    tables: list[Text] | None = None
    unmask: list[Text] | None = None
    filters: dict[Text, list[FilterIn]] | None = Field(
        default=None, examples=[{"sales.orders": [{"column": "region", "operator": "=", "values": ["EU"]}]}]
    )


class ReviewIn(Body):
    """`verdict`: justified or unjustified."""

    verdict: Text
    comment: Text


class CommentIn(Body):
    comment: Text = ""


class ReasonIn(Body):
    reason: Text = ""


class ExtendIn(Body):
    """`minutes` come on top of what the access has."""

    minutes: StrictInt
    reason: Text = ""


Sql = Annotated[str, Field(max_length=200_000)]


class QueryIn(Body):
    """One statement that reads."""

    sql: Sql = Field(examples=["SELECT id, status FROM sales.orders WHERE id = 4711"])


class ExportIn(Body):
    """One query."""

    sql: Sql = Field(examples=["SELECT * FROM sales.orders"])


class ChangeIn(Body):
    """Statements of one transaction, which is rolled back unless `commit` is true."""

    sql: Sql = Field(examples=["UPDATE sales.orders SET status = 'paid' WHERE id = 4711"])
    commit: StrictBool = False
    expected_rows: StrictInt | None = Field(default=None, examples=[1])


class ResultColumnOut(Schema):
    name: str = Field(examples=["id"])
    type: str = Field(examples=["integer"])


class CutOut(Schema):
    """Of this value only the beginning is shown."""

    row: int
    column: int
    bytes: int


class QueryOut(Schema):
    """Values are the text that PostgreSQL gives, null for NULL, bytea as hex. `truncated`: there are more rows, and
    `sentence` says why they are not here.
    """

    statement: str
    columns: list[ResultColumnOut]
    rows: list[list[str | None]] = Field(examples=[[["4711", "open"], ["4712", None]]])
    truncated: bool
    why: str | None
    sentence: str
    cut: list[CutOut]
    affected: int | None
    tag: str = Field(examples=["SELECT 2"])
    elapsed_ms: int


class ChangeOut(Schema):
    """`committed` is null where the answer to COMMIT was lost. `failed` is the statement that did not go well."""

    results: list[QueryOut]
    failed: dict[str, Any] | None
    committed: bool | None
    affected: int | None
    why: str | None
    sentence: str = Field(examples=["Committed: 1 row affected."])


class PlanOut(Schema):
    plan: list[str]


class ProgressOut(Schema):
    statement: str
    status: Literal["running", "done", "failed", "cancelled", "unknown"]
    rows: int | None
    bytes: int | None
    seconds_left: int
    sentence: str


class PastOut(Schema):
    """`text` is null where it was erased; `committed` where nothing could be changed, or nobody knows."""

    id: str
    kind: Literal["query", "export", "change", "one_off", "explain"]
    text: str | None
    status: Literal["running", "done", "failed", "cancelled", "unknown"]
    started_at: str
    finished_at: str | None
    rows: int | None
    affected: int | None
    bytes: int | None
    elapsed_ms: int | None
    sqlstate: str
    sentence: str
    committed: bool | None
    sha256: str


class OneOffOut(Schema):
    """The one statement that a request is for, and what became of it."""

    sql: str
    expected_rows: int | None
    ran: PastOut | None
    outcome: str


class RevokeAllIn(Body):
    """One of `person` (username), `database` (slug), `server` (name) and `everything`.

    `expected` is the count that a dry run has answered; for everything the word REVOKE comes with it.
    """

    person: Text | None = None
    database: Text | None = None
    server: Text | None = None
    everything: StrictBool = False
    reason: Text = ""
    expected: StrictInt | None = None
    word: Text = ""
    dry_run: StrictBool = False


class AffectedOut(Schema):
    """Of one person in one database; `requests` are approved and not made yet."""

    person: str
    database: str
    grants: int
    requests: int


class RevokeAllOut(Schema):
    """`count` is what is, or was, to be taken away: grants, and approved requests of which access would be made."""

    dry_run: bool
    count: int
    grants: int
    requests: int
    affected: list[AffectedOut] | None  # of a dry run


class Me(Schema):
    id: str
    username: str
    name: str
    email: str
    time_zone: str
    groups: list[str]
    duties: list[str]
    scopes: list[str]


class DatabaseOut(Schema):
    slug: str
    environment: str
    description: str
    may_request: bool
    owned: bool
    synced_at: str | None


class ColumnOut(Schema):
    name: str
    type: str
    classification: str | None
    data_class: str | None
    mask: str | None


class TableOut(Schema):
    schema_: str = Field(alias="schema")
    name: str
    columns: list[ColumnOut]


class FactorOut(Schema):
    name: str
    weight: int
    why: str


class RiskOut(Schema):
    level: Literal["low", "medium", "high", "critical"]
    factors: list[FactorOut]


class PreviewStepOut(Schema):
    kind: Literal["peer", "owner", "data_owner", "group"]
    group: str | None
    needed: int
    eligible: int


class StepOut(PreviewStepOut):
    """`people`: some of those who could say yes now, while the request waits; empty in lists."""

    approved_by: list[str]
    people: list[str]


class MaskedOut(Schema):
    """`name` is the full name of the column, quoted as in SQL; `mask` is what it has unless it is shown unmasked."""

    name: str
    table: str
    column: str
    mask: str
    level: str | None
    data_class: str | None


class ReadOnlyOut(Schema):
    """`why` is the rest of a sentence: "is masked"."""

    name: str
    table: str
    column: str
    why: str


class RefusedWriteOut(Schema):
    table: str
    statement: Literal["INSERT", "UPDATE", "DELETE"]
    why: str


class FilterOut(Schema):
    table: str
    column: str
    operator: str
    values: list[str]
    text: str


class ViewsOut(Schema):
    """How many of the tables are reached through views that mask columns or leave out rows."""

    tables: int
    masked: int
    unmasked: int
    filters: int


class PreviewOut(Schema):
    outcome: Literal["approve", "route", "deny"]
    reasons: list[str]
    rule: str
    version: int
    max_minutes: int | None
    tables: list[str]
    scope_digest: str
    risk: RiskOut
    route: list[PreviewStepOut]
    views: ViewsOut
    masked: list[MaskedOut]
    unmasked: list[MaskedOut]
    read_only: list[ReadOnlyOut]
    refused_writes: list[RefusedWriteOut]
    filters: list[FilterOut]


class GrantRef(Schema):
    id: str
    status: str


class ReviewOut(Schema):
    """All null but `opened_at` while it is open."""

    opened_at: str
    closed_at: str | None
    closed_by: str | None
    verdict: Literal["justified", "unjustified"] | None
    comment: str | None


class ReviewLineOut(ReviewOut):
    request: str
    requester: str
    database: str
    minutes: int
    reason: str
    grant: GrantRef | None


class RequestOut(Schema):
    id: str
    status: Literal["pending", "approved", "denied", "cancelled", "lapsed"]
    requester: str
    database: str
    level: str
    connection: str
    tables: list[str]
    unmask: list[str]
    minutes: int
    starts_at: str | None
    reason: str
    ticket: str
    submitted_at: str
    lapses_at: str
    closed_reason: str
    rule: str
    policy_version: int
    reasons: list[str]
    scope_digest: str
    risk: RiskOut
    route: list[StepOut]
    grant: GrantRef | None  # of an extension: the grant that it extends
    extends: str | None  # the request whose access is to last longer; `minutes` are those on top
    extension: Literal["queued", "applied", "failed"] | None
    break_glass: bool
    review: ReviewOut | None  # of access that was taken at once
    statement: str  # the exact SQL that the access is for; empty where it is for any
    expected_rows: int | None
    one_off: OneOffOut | None  # in the answer about one request; null in lists
    views: ViewsOut
    filters: list[FilterOut]
    # Column by column in the answer about one request, null in lists.
    masked: list[MaskedOut] | None
    unmasked: list[MaskedOut] | None
    read_only: list[ReadOnlyOut] | None
    refused_writes: list[RefusedWriteOut] | None


class SessionsOut(Schema):
    live: int
    seen: int
    first_at: str | None
    last_at: str | None


class EvidenceOut(Schema):
    checked_at: str | None
    reach: list[dict[str, Any]]
    findings: list[str]
    views: list[dict[str, Any]]


class GrantOut(Schema):
    id: str
    status: Literal["queued", "active", "ending", "ended", "failed"]
    request: str
    holder: str
    database: str
    connection: str
    break_glass: bool
    login: str
    starts_at: str | None
    expires_at: str | None
    ended_at: str | None
    end_cause: str | None
    end_reason: str  # what the holder, whoever revoked it or the portal said; empty where nobody did
    problem: str
    sessions: SessionsOut
    evidence: EvidenceOut


class CredentialOut(Schema):
    host: str
    port: int
    database: str
    username: str
    password: str
    valid_until: str
    url: str
    sslmode: str


class EntryOut(Schema):
    index: int
    recorded_at: str
    recorded_by: str
    body: str
    hash: str
    disclosed: dict[str, str]


class CheckpointOut(Schema):
    origin: str
    size: int
    hash: str
    note: str | None


class BreakOut(Schema):
    """A history that an anchor has seen and that is not the record's. `proposed`: whether one of two has agreed."""

    id: str
    found_at: str
    anchor: str
    size_here: int
    hash_here: str
    size_there: int
    hash_there: str
    proposed: bool


class Page(Schema):
    next: str | None


class BreakPage(Page):
    items: list[BreakOut]


class DatabasePage(Page):
    items: list[DatabaseOut]


class TablePage(Page):
    items: list[TableOut]


class RequestPage(Page):
    items: list[RequestOut]


class ReviewPage(Page):
    items: list[ReviewLineOut]


class GrantPage(Page):
    items: list[GrantOut]


class PastPage(Page):
    items: list[PastOut]


class EntryPage(Page):
    items: list[EntryOut]


class ReportQuery(Schema):
    """Days (UTC) or RFC 3339 with a zone; `to` is exclusive. Left out: the last 30 days, and all of the record."""

    since: str = Field("", alias="from", max_length=64)
    until: str = Field("", alias="to", max_length=64)
    person: str = ""
    database: str = ""
    size: int | None = Field(None, ge=1, le=2**62, description="fold so many entries of the record, its first ones")


class ReportColumnOut(Schema):
    name: str
    meaning: str


class ReportOut(Schema):
    name: str
    title: str
    answers: str
    counts: str
    parameters: list[str]
    columns: list[ReportColumnOut]


class ReportPage(Page):
    items: list[ReportOut]


class ReportCheckpointOut(Schema):
    origin: str
    size: int
    hash: str


class BundleIn(Body):
    """The evidence of a period that is over: a day (its beginning, UTC) or RFC 3339. Without `reports`: all of them."""

    since: str = Field(alias="from", examples=["2026-11-01"])
    until: str = Field(alias="to", examples=["2026-12-01"])
    reports: list[str] | None = None


class BundleOut(Schema):
    """`done` of `total` entries are written; the file is kept until `expires_at`."""

    id: str
    status: Literal["queued", "building", "ready", "failed", "gone"]
    since: str = Field(alias="from")
    until: str = Field(alias="to")
    reports: list[str]
    wanted_by: str
    wanted_at: str
    done: int
    total: int | None
    problem: str
    name: str
    bytes: int | None
    sha256: str
    expires_at: str | None


class BundlePage(Schema):
    items: list[BundleOut]
    next: str | None


class ReportSaidOut(Schema):
    """`entries` were read; `sha256` is that of the CSV's bytes."""

    name: str
    title: str
    answers: str
    counts: str
    since: str = Field(alias="from")
    until: str = Field(alias="to")
    person: str
    database: str
    entries: int
    rows: int
    sha256: str
    checkpoint: ReportCheckpointOut
