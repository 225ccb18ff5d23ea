"""Rows as the JSON of the contract."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from apps.approvals import services as approvals
from apps.approvals.models import Review
from apps.audit.body import rfc3339
from apps.catalog import masking
from apps.catalog.models import Column, Database, Server, Table
from apps.catalog.tables import quoted, quoted_column
from apps.console import services as console
from apps.grants.models import Grant
from apps.grants.revoking import Affected
from apps.requests.masked import About, MaskedColumn, filters_of
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope
from apps.requests.services import Preview, shown_by


def moment(value: datetime | None) -> str | None:
    return rfc3339(value) if value else None


def database(row: Database, *, may_request: bool, owned: bool) -> dict[str, Any]:
    return {
        "slug": row.slug,
        "environment": row.environment,
        "description": row.description,
        "may_request": may_request,
        "owned": owned,
        "synced_at": moment(row.synced_at),
    }


def table(row: Table, *, server: Server, classes: Mapping[str, str]) -> dict[str, Any]:
    """`columns` are prefetched, live ones only, annotated with `masked`. `classes`: see masking.class_masks()."""
    columns = [_column(column, server, classes) for column in row.columns.all()]
    return {"schema": row.schema, "name": row.name, "columns": columns}


def _column(row: Column, server: Server, classes: Mapping[str, str]) -> dict[str, Any]:
    is_masked: bool = row.masked  # type: ignore[attr-defined]  # annotated
    return {
        "name": row.name,
        "type": row.type,
        "classification": row.classification or None,
        "data_class": row.data_class or None,
        "mask": str(masking.mask_of(row, classes, server)) if is_masked else None,
    }


def preview(value: Preview) -> dict[str, Any]:
    verdict = value.verdict.to_json()
    return {
        **{key: verdict[key] for key in ("outcome", "reasons", "rule", "version", "max_minutes", "risk")},
        "tables": [quoted(name) for name in value.scope.tables],
        "scope_digest": value.scope.digest(),
        "route": value.route,
        "views": _views(value.scope),
        **_about(value.about),
    }


def request(row: AccessRequest, *, live: bool = True) -> dict[str, Any]:
    """`live` counts who could decide now, at the cost of queries; a list shows what was known at submission."""
    scope = row.effective
    nothing: dict[str, Any] = dict.fromkeys(("masked", "unmasked", "read_only", "refused_writes"))
    about = _about(shown_by(row)) if live else {**nothing, "filters": filters_of(scope)}
    return {
        "id": row.pk,
        "status": row.status,
        "requester": row.requester.username,
        "database": row.database.slug,
        "level": row.level,
        "connection": row.connection,
        "tables": [quoted(name) for name in scope.tables],
        "unmask": [quoted_column(name, column) for name, column in scope.unmask],
        "minutes": row.minutes,
        "starts_at": moment(row.starts_at),
        "reason": row.reason,
        "ticket": row.ticket,
        "submitted_at": moment(row.submitted_at),
        "lapses_at": moment(row.lapses_at),
        "closed_reason": row.closed_reason,
        "rule": row.verdict["rule"],
        "policy_version": row.policy_version,
        "reasons": row.verdict["reasons"],
        "scope_digest": row.scope_digest,
        "risk": row.verdict["risk"],
        "route": approvals.route_of(row, live=live),
        "grant": _grant_reference(row.extends or row),
        "extends": row.extends_id,
        "extension": _extension_status(row),
        "break_glass": row.break_glass,
        "review": review(row.review) if row.break_glass and hasattr(row, "review") else None,
        "statement": row.statement,
        "expected_rows": row.expected_rows,
        "one_off": _one_off(row) if live and row.statement else None,
        "views": _views(scope),
        **about,
    }


def past(row: console.Past) -> dict[str, Any]:
    return {**asdict(row), "started_at": moment(row.started_at), "finished_at": moment(row.finished_at)}


def _one_off(row: AccessRequest) -> dict[str, Any] | None:
    found = console.one_off_of(row.pk)
    return {**asdict(found), "ran": past(found.ran) if found.ran else None} if found else None


def _views(scope: EffectiveScope) -> dict[str, int]:
    return {
        "tables": len(scope.views),
        "masked": len(scope.masked()),
        "unmasked": len(scope.unmask),
        "filters": sum(len(view.filters) for view in scope.views),
    }


def _about(value: About) -> dict[str, Any]:
    return {
        "masked": [_masked(column) for column in value.masked],
        "unmasked": [_masked(column) for column in value.unmasked],
        "read_only": value.read_only,
        "refused_writes": value.refused_writes,
        "filters": value.filters,
    }


def _masked(column: MaskedColumn) -> dict[str, Any]:
    return {**column, "level": column["level"] or None, "data_class": column["data_class"] or None}


def _grant_reference(row: AccessRequest) -> dict[str, Any] | None:
    try:
        return {"id": row.grant.pk, "status": row.grant.status}
    except ObjectDoesNotExist:
        return None


def _extension_status(row: AccessRequest) -> str | None:
    try:
        return row.extension.status if row.extends_id else None
    except ObjectDoesNotExist:
        return None


def affected(now: Affected) -> dict[str, Any]:
    lines = [
        {"person": line.username, "database": line.database, "grants": line.grants, "requests": line.requests}
        for line in now.lines
    ]
    return {"dry_run": True, "count": now.count, "grants": now.grants, "requests": now.requests, "affected": lines}


def review(row: Review) -> dict[str, Any]:
    return {
        "opened_at": moment(row.opened_at),
        "closed_at": moment(row.closed_at),
        "closed_by": row.closed_by.username if row.closed_by else None,
        "verdict": row.verdict or None,
        "comment": row.comment or None,
    }


def review_line(row: Review) -> dict[str, Any]:
    return {
        "request": row.request_id,
        "requester": row.request.requester.username,
        "database": row.request.database.slug,
        "minutes": row.request.minutes,
        "reason": row.request.reason,
        "grant": _grant_reference(row.request),
        **review(row),
    }


def grant(row: Grant) -> dict[str, Any]:
    return {
        "id": row.pk,
        "status": row.status,
        "request": row.request_id,
        "holder": row.holder.username,
        "database": row.database.slug,
        "connection": row.connection,
        "break_glass": row.break_glass,
        "login": row.login,
        "starts_at": moment(row.starts_at),
        "expires_at": moment(row.expires_at),
        "ended_at": moment(row.ended_at),
        "end_cause": row.end_cause or None,
        "end_reason": row.end_reason,
        "problem": row.problem,
        "sessions": {
            "live": row.sessions_live,
            "seen": row.sessions_seen,
            "first_at": moment(row.first_used_at),
            "last_at": moment(row.last_used_at),
        },
        "evidence": {"checked_at": None, "reach": [], "findings": [], "views": []} | (row.evidence or {}),
    }
