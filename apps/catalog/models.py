"""What can be asked for: servers, their databases, and the tables and columns read from them."""

from typing import TYPE_CHECKING

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from guardian.shortcuts import get_objects_for_user

from apps.core.ids import LENGTH, new_id
from apps.engines.base import Operator, RowFilter, Tls

if TYPE_CHECKING:
    from apps.accounts.models import User

slug_validator = RegexValidator(r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$", "Use a–z, 0–9 and hyphens.")


class Server(models.Model):
    """A database server. Structured fields only, never a connection string (field notes W6)."""

    class Kind(models.TextChoices):
        POSTGRESQL = "postgresql", "PostgreSQL"

    class TlsMode(models.TextChoices):
        VERIFY_FULL = Tls.VERIFY_FULL.value, "TLS, certificate and host name verified"
        LOOPBACK_PLAINTEXT = Tls.LOOPBACK_PLAINTEXT.value, "no TLS, loopback only"

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    name = models.CharField(max_length=63, unique=True, validators=[slug_validator])
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.POSTGRESQL)
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField(default=5432, validators=[MinValueValidator(1), MaxValueValidator(65535)])
    maintenance_database = models.CharField(max_length=63, default="postgres")
    tls = models.CharField(max_length=24, choices=TlsMode, default=TlsMode.VERIFY_FULL)
    ca_certificate = models.TextField(blank=True, help_text="PEM; empty for the system's certificate authorities.")
    manager = models.CharField(max_length=63, default="jitportal", help_text="The login that the bootstrap SQL makes.")
    # Sealed to the workers' public key and bound to this server's id and host; empty until it is set.
    manager_secret = models.BinaryField(null=True, editable=False)
    # What stands for that password on the server (a SCRAM verifier), so that the bootstrap SQL can be printed again.
    manager_verifier = models.TextField(blank=True, editable=False)
    # While it is being rotated: what the password is going to be, or is already.
    next_manager_secret = models.BinaryField(null=True, editable=False)
    findings = models.JSONField(default=list, editable=False)  # of the last preflight: severity, sentence, fix
    checked_at = models.DateTimeField(null=True, editable=False)
    check_wanted_at = models.DateTimeField(null=True, editable=False)
    skew_seconds = models.FloatField(null=True, editable=False)
    is_active = models.BooleanField(default=True)
    retired_at = models.DateTimeField(null=True, editable=False)  # it was clean then, and is not worked on any more
    reconcile_wanted_at = models.DateTimeField(null=True, editable=False)
    # Being taken out of the catalog: wanted by a person, done by a worker, and over with `retired_at`.
    retiring_at = models.DateTimeField(null=True, editable=False)
    retiring_by = models.CharField(max_length=64, blank=True, editable=False)  # the record's opaque id
    retire_reason = models.TextField(blank=True, editable=False)
    retire_unseen = models.BooleanField(default=False, editable=False)  # they say that it does not exist any more
    retire_problem = models.TextField(blank=True, editable=False)  # what is left there, or what the last try said
    # A session under a grant that goes on for longer is ended (field notes S10).
    block_seconds = models.PositiveIntegerField(
        "may block others for", default=30, help_text="Seconds; 0 does not look."
    )
    idle_seconds = models.PositiveIntegerField(
        "may idle in a transaction for", default=300, help_text="Seconds; 0 does not look."
    )
    snapshot_seconds = models.PositiveIntegerField(
        "may hold back vacuum for", default=1800, help_text="Seconds of one snapshot; 0 does not look."
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(port__gte=1, port__lte=65535), name="server_port_is_one"),
            models.CheckConstraint(
                condition=Q(manager_secret__isnull=False) | Q(manager_verifier=""),
                name="server_verifier_has_its_secret",
            ),
            models.CheckConstraint(
                condition=Q(retiring_at=None) | Q(is_active=False), name="server_being_retired_gives_nothing"
            ),
            models.CheckConstraint(
                condition=Q(retired_at=None) | Q(retiring_at__isnull=False), name="server_retired_by_somebody"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def audit_id(self) -> str:
        return f"server:{self.pk}"


class DatabaseQuerySet(models.QuerySet["Database"]):
    """Scoped reads."""

    def askable_by(self, user: "User") -> "DatabaseQuerySet":
        """Databases in which `user` may ask for access. Superusers are exempt from nothing."""
        return self._with_permission(user, "request_database").filter(is_active=True, server__is_active=True)

    def owned_by(self, user: "User") -> "DatabaseQuerySet":
        return self._with_permission(user, "own_database")

    def data_owned_by(self, user: "User") -> "DatabaseQuerySet":
        return self._with_permission(user, "own_data")

    def glass_breakable_by(self, user: "User") -> "DatabaseQuerySet":
        """Databases in which `user` may have access at once in an emergency, whether they may ask otherwise or not."""
        return self._with_permission(user, "break_glass").filter(is_active=True, server__is_active=True)

    def open_to(self, user: "User", *, break_glass: bool) -> "DatabaseQuerySet":
        """Databases in which `user` may hold access of this kind."""
        return self.glass_breakable_by(user) if break_glass else self.askable_by(user)

    def visible_to(self, user: "User") -> "DatabaseQuerySet":
        return self.askable_by(user) | self.owned_by(user) | self.data_owned_by(user) | self.glass_breakable_by(user)

    def _with_permission(self, user: "User", codename: str) -> "DatabaseQuerySet":
        if not user.is_active:
            return self.none()
        allowed = get_objects_for_user(
            user, f"catalog.{codename}", klass=Database, with_superuser=False, accept_global_perms=False
        )
        return self.filter(pk__in=allowed.values("pk"))


class Database(models.Model):
    """One database of a server, as people see it."""

    class Environment(models.TextChoices):
        PRODUCTION = "production", "production"
        STAGING = "staging", "staging"
        DEVELOPMENT = "development", "development"

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    server = models.ForeignKey(Server, on_delete=models.PROTECT, related_name="databases")
    slug = models.CharField(max_length=63, unique=True, validators=[slug_validator])
    datname = models.CharField("name on the server", max_length=63)
    environment = models.CharField(max_length=16, choices=Environment)
    description = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    sync_wanted_at = models.DateTimeField(null=True, editable=False)
    synced_at = models.DateTimeField(null=True, editable=False)
    sync_error = models.TextField(blank=True, editable=False)
    # Which reading of the tables (its synced_at) was last searched for columns to classify.
    suggested_at = models.DateTimeField(null=True, editable=False)
    hides_unclassified = models.BooleanField(
        "treat unclassified columns as restricted",
        default=False,
        help_text="Columns that nobody has classified yet are hidden under every grant.",
    )
    # What the console holds people to (apps/console).
    console_rows = models.PositiveIntegerField(
        "rows of a result in the console", default=1000, help_text="More are cut off, and that is said."
    )
    console_seconds = models.PositiveIntegerField(
        "a statement in the console may run for", default=600, help_text="Seconds; never beyond the end of the access."
    )
    keeps_literals = models.BooleanField(
        "keep the values in recorded statements",
        default=True,
        help_text="Otherwise texts and numbers in a statement are recorded as $.",
    )
    exposure = models.JSONField(default=list, editable=False)  # list of apps.engines.base.Exposure as JSON
    exposure_at = models.DateTimeField(null=True, editable=False)
    # Functions that notify, as a DBA has accepted them for direct connections: their names, sorted.
    notifying_accepted = models.JSONField(default=list, editable=False)

    objects = DatabaseQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.UniqueConstraint("server", "datname", name="database_once_per_server")]
        default_permissions = ()
        permissions = [
            ("request_database", "may ask for access to this database"),
            ("own_database", "owns this database: decides about access to it"),
            ("own_data", "owns the data in it: decides about columns to be shown unmasked"),
            ("break_glass", "may break the glass: access to it at once, reviewed afterwards"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def audit_id(self) -> str:
        return f"database:{self.pk}"


class Table(models.Model):
    """A table or view of a database, as last read from the target."""

    database = models.ForeignKey(Database, on_delete=models.CASCADE, related_name="tables")
    schema = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    kind = models.CharField(max_length=24)
    comment = models.TextField(blank=True)
    estimated_rows = models.BigIntegerField(default=-1)
    first_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)
    primary_key = models.JSONField(default=list, editable=False)  # names of its columns, in order
    ties = models.JSONField(default=list, editable=False)  # list of apps.engines.ties.Tie as JSON
    row_security = models.BooleanField(default=False, editable=False)
    # While its owner changes it, nothing on it is granted, and grants that see it through a view end.
    paused_at = models.DateTimeField(null=True, editable=False)
    paused_by = models.ForeignKey(
        "accounts.User", null=True, editable=False, on_delete=models.PROTECT, related_name="+"
    )
    pause_reason = models.TextField(blank=True, editable=False)

    class Meta:
        ordering = ["schema", "name"]
        constraints = [models.UniqueConstraint("database", "schema", "name", name="table_once_per_database")]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


class Classification(models.TextChoices):
    """How sensitive a column is. Empty means: nobody has looked yet."""

    PUBLIC = "public", "public"
    INTERNAL = "internal", "internal"
    CONFIDENTIAL = "confidential", "confidential"
    RESTRICTED = "restricted", "restricted"


# Columns of these levels are masked unless somebody approved otherwise.
MASKED_LEVELS = (Classification.CONFIDENTIAL, Classification.RESTRICTED)


class DataClass(models.Model):
    """A kind of data, such as email or card, and the mask that its columns have unless one has a mask of its own."""

    name = models.CharField(
        primary_key=True,
        max_length=32,
        validators=[RegexValidator(r"^[a-z][a-z0-9_]{0,31}$", "Use a–z, 0–9 and underscores.")],
    )
    description = models.CharField(max_length=200, blank=True)
    mask = models.CharField(max_length=32, default="hidden", help_text="hidden, null, partial(1,4), email, …")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "data classes"

    def __str__(self) -> str:
        return self.name

    @property
    def audit_id(self) -> str:
        return f"data_class:{self.pk}"


class ColumnQuerySet(models.QuerySet["Column"]):
    """Reads that mean one thing everywhere."""

    def masked(self) -> "ColumnQuerySet":
        """Columns that a grant does not show unless that was approved."""
        return self.filter(is_masked())


def is_masked(prefix: str = "") -> Q:
    """Classified as such, or not at all where its database hides what nobody has looked at. `prefix` ends in `__`."""
    unclassified = Q(**{f"{prefix}classification": "", f"{prefix}table__database__hides_unclassified": True})
    return Q(**{f"{prefix}classification__in": MASKED_LEVELS}) | unclassified


class Column(models.Model):
    """A column, its type as the target prints it, and its classification. Its mask: apps.catalog.masking."""

    table = models.ForeignKey(Table, on_delete=models.CASCADE, related_name="columns")
    name = models.CharField(max_length=63)
    type = models.CharField(max_length=255)
    position = models.IntegerField()
    not_null = models.BooleanField(default=False)
    comment = models.TextField(blank=True)
    classification = models.CharField(max_length=16, choices=Classification, blank=True)
    data_class = models.CharField(max_length=32, blank=True, help_text="email, national_id, card, salary …")
    mask_override = models.CharField(
        "mask of its own", max_length=32, blank=True, db_default="", help_text="Empty: the mask of its data class."
    )
    # {"classification", "data_class", "why"}: for a DBA to accept or dismiss; holds no values, and unmasks nothing.
    suggestion = models.JSONField(null=True, editable=False)
    suggestion_dismissed = models.CharField(
        max_length=64, blank=True, db_default="", editable=False
    )  # "level data_class"
    first_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = ColumnQuerySet.as_manager()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint("table", "name", name="column_once_per_table")]

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"


class StandingFilter(models.Model):
    """Rows of a table that every grant on it is limited to; several must all hold. Set by a DBA."""

    table = models.ForeignKey(Table, on_delete=models.CASCADE, related_name="standing_filters")
    column = models.CharField(max_length=63)
    operator = models.CharField(max_length=16, choices=[(operator.value, operator.value) for operator in Operator])
    values = models.JSONField(default=list, blank=True)  # texts
    added_at = models.DateTimeField()

    class Meta:
        ordering = ["table", "column", "pk"]

    def __str__(self) -> str:
        return f"{self.table}: {self.row_filter}"

    @property
    def row_filter(self) -> RowFilter:
        return RowFilter(self.column, Operator(self.operator), tuple(self.values))
