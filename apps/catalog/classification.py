"""Saying how sensitive columns are, and what is shown in the place of their values."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from django.db.models import Q

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.dual_control import Line, require_second, widening
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.differences import Label
from apps.catalog.guards import check_classification, check_data_class
from apps.catalog.labels import CARD, Checker, check_card, hides_as_much, lowers, parsed
from apps.catalog.models import MASKED_LEVELS, Column, DataClass, Table
from apps.catalog.row_filters import lock_databases, refuse_filtered
from apps.core.errors import NotFound
from apps.core.nudge import nudge
from apps.core.texts import checked

_LISTED_COLUMNS: Final = 200  # in one entry of the record
_MAX_DESCRIPTION: Final = 200


def classify(
    *, actor: Actor, column_id: int, classification: str, data_class: str = "", mask: str | None = None
) -> None:
    """Say how sensitive a column is. `mask`: as in classify_many()."""
    classify_many(actor=actor, column_ids=[column_id], classification=classification, data_class=data_class, mask=mask)


@widening("column.classify")
def classify_many(
    *,
    actor: Actor,
    column_ids: Sequence[int],
    classification: str,
    data_class: str | None = None,
    mask: str | None = None,
) -> int:
    """Say the same of many columns; a `data_class` or `mask` None leaves theirs as it is, an empty one takes it away.

    Returns how many changed. Raises NotFound unless all of them exist, and Waits where one would be protected less.
    """
    require_dba(actor, what="classify a column")
    check_classification(classification, data_class or "")
    wanted = set(column_ids)
    columns = locked_columns(wanted)
    if len(columns) != len(wanted):
        raise NotFound("One of these columns is not in the catalog any more: look at the list again.")
    labels = {
        column: Label(
            classification,
            column.data_class if data_class is None else data_class,
            column.mask_override if mask is None else mask.strip(),
        )
        for column in columns
    }
    changed = {column: label for column, label in labels.items() if label != label_of(column)}
    check_labels(changed)
    if changed:
        require_second_to_label(changed, actor=actor)
        write_labels(changed)
        record_classified(changed, classification, data_class, mask, actor=actor)
    return len(changed)


def locked_columns(ids: Iterable[int]) -> list[Column]:
    """Their databases first, as a reading of the tables does: it would carry on a label that is changed meanwhile."""
    wanted = Q(pk__in=set(ids))
    lock_databases(Column.objects.filter(wanted).values("table__database"))
    return locked_columns_where(wanted)


def locked_columns_where(wanted: Q) -> list[Column]:
    """Of databases that are locked; with what is needed to check them.

    A table is loaded once for all its columns, of which there may be tens of thousands.
    """
    columns = list(Column.objects.filter(wanted).select_for_update(no_key=True).order_by("pk"))
    tables = (
        Table.objects.filter(pk__in={column.table_id for column in columns})
        .select_related("database__server")
        .only("schema", "name", "database")
        .in_bulk()
    )
    for column in columns:
        column.table = tables[column.table_id]
    return columns


def label_of(column: Column) -> Label:
    return Label(column.classification, column.data_class, column.mask_override)


def check_labels(labels: Mapping[Column, Label]) -> None:
    """Raise Invalid about the first that may not be."""
    checker = Checker()
    for column, label in labels.items():
        checker.check(column, label)
    refuse_filtered(column for column, label in labels.items() if is_masked_as(column, label))


def require_second_to_label(labels: Mapping[Column, Label], *, actor: Actor) -> None:
    """Inside a verb: where one of the columns is protected less than before, all of it takes a second person."""
    lowered = lowers({column: (label_of(column), after) for column, after in labels.items()})
    if not any(lowered.values()):
        return
    # What lowers first, as it is what the second person has to look at.
    ordered = sorted(labels.items(), key=lambda one: (not lowered[one[0]], str(one[0])))
    databases = sorted({column.table.database for column in labels}, key=lambda one: one.slug)
    count = sum(lowered.values())
    require_second(
        actor,
        about=f"{count} {'column' if count == 1 else 'columns'} of {', '.join(one.slug for one in databases[:5])} "
        "protected less",
        subject=databases[0].audit_id if len(databases) == 1 else "catalog",
        difference=[
            Line(
                f"{column.table.database.slug}: {column}",
                str(label_of(column)),
                f"{after} (protected less)" if lowered[column] else str(after),
            )
            for column, after in ordered
        ],
    )


def is_masked_as(column: Column, label: Label) -> bool:
    return label.classification in MASKED_LEVELS or (
        not label.classification and column.table.database.hides_unclassified
    )


def write_labels(labels: Mapping[Column, Label]) -> None:
    """A statement for each label, of which there are few."""
    by_label: dict[Label, list[int]] = {}
    for column, label in labels.items():
        by_label.setdefault(label, []).append(column.pk)
    for label, ids in by_label.items():
        Column.objects.filter(pk__in=ids).update(**label._asdict())


def record_classified(
    labels: Mapping[Column, Label], classification: str, data_class: str | None, mask: str | None, *, actor: Actor
) -> None:
    """`labels` are those that columns have now; the columns are as they were loaded, with what they had before."""
    databases = sorted({column.table.database_id for column in labels})
    said = {"classification": classification, "data_class": data_class, "mask_override": mask}
    audit.record(
        Action.COLUMN_CLASSIFIED,
        actor=actor_id(actor),
        subject=f"database:{databases[0]}" if len(databases) == 1 else "catalog",
        facts={
            **{name: value for name, value in said.items() if value is not None},
            "columns": len(labels),
            "before": dict(Counter(str(label_of(column)) for column in labels)),
            "databases": databases[:_LISTED_COLUMNS],
            "ids": sorted(column.pk for column in labels)[:_LISTED_COLUMNS],
        },
        disclosed={"columns": "\n".join(sorted(told(*one) for one in labels.items())[:_LISTED_COLUMNS])},
    )
    nudge()


def told(column: Column, after: Label) -> str:
    """One line of the record."""
    return f"{column}: {label_of(column)} → {after}"


@widening("data_class.save")
def save_data_class(*, actor: Actor, name: str, description: str = "", mask: str = "hidden") -> DataClass:
    """Add a data class, or change what is shown of its columns. One is never taken away: columns name it.

    A mask that hides less than the one before takes a second person. Raises Invalid, NotAllowed, Waits.
    """
    require_dba(actor, what="change a data class")
    check_data_class(name)
    description = checked(description, what="The description", field="description", at_most=_MAX_DESCRIPTION)
    wanted = parsed(mask, field="mask")
    if name == CARD:
        check_card(wanted, what=f"The mask {wanted}", field="mask")
    masked = Column.objects.masked().filter(data_class=name, mask_override="", gone_at=None, table__gone_at=None)
    lock_databases(masked.values("table__database"))  # nobody gives or takes the class meanwhile
    row = DataClass.objects.select_for_update(no_key=True).filter(pk=name).first()
    before = None if row is None else (row.mask, row.description)
    row = row or DataClass(name=name)
    row.mask, row.description = str(wanted), description
    if before == (row.mask, row.description):
        return row
    if before is not None:
        columns = masked.select_related("table__database").order_by("table__database__slug", "pk")
        lines = [Line(f"mask of {name}", before[0], row.mask)]
        lines += [Line(f"{column.table.database.slug}: {column}", before[0], row.mask) for column in columns]
        less = not hides_as_much(wanted, parsed(before[0], field="mask"))
        require_second(actor, about=f"Data class {name}", subject=row.audit_id, difference=lines, widens=less)
    row.save()
    audit.record(
        Action.DATA_CLASS_CHANGED,
        actor=actor_id(actor),
        subject=row.audit_id,
        facts={
            "before": None if before is None else before[0],
            "after": row.mask,
            "columns": Column.objects.filter(data_class=name, gone_at=None).count(),
        },
        disclosed={"description": f"{before[1]} → {description}" if before else description},
    )
    nudge()
    return row
