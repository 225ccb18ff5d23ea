"""What the templates need beyond Django's own: icons, pills, moments, countdowns."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.catalog.names import quoted, quoted_part
from apps.grants.models import Grant
from apps.grants.sessions import use_in_words
from apps.portal import icons, words
from apps.requests.models import AccessRequest

register = template.Library()
register.filter("span", words.span)
register.filter("quoted", quoted)
register.filter("quoted_part", quoted_part)
register.filter("mask_words", words.mask)
register.filter("use", use_in_words)
register.simple_tag(icons.icon, name="icon")


@register.simple_tag
def moment(value: datetime | None, style: str = "short") -> SafeString | str:
    """A time in the reader's zone; UTC, to the second, in the title."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    today = timezone.localtime().date()
    if style == "exact":
        text = date_format(local, "j M Y, H:i:s")
    elif local.date() == today:
        text = f"today, {date_format(local, 'H:i')}"
    else:
        text = date_format(local, "j M, H:i" if local.year == today.year else "j M Y, H:i")
    utc = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S}", text
    )


@register.simple_tag
def countdown(until: datetime, now: datetime, size: str = "") -> SafeString:
    """The time left. The text is right without scripts; with them it ticks by the server's clock."""
    return format_html(
        '<time class="countdown {}" datetime="{}" data-now="{}" role="timer" aria-live="off">{}</time>',
        size,
        until.astimezone(UTC).isoformat(),
        now.astimezone(UTC).isoformat(),
        words.remaining(until, now),
    )


@register.simple_tag
def grant_pill(grant: Grant, now: datetime) -> SafeString:
    late = words.is_late(grant, now)
    return _pill(*(words.LATE_PILL if late else words.GRANT_PILLS[grant.status]))


@register.simple_tag
def request_pill(row: AccessRequest) -> SafeString:
    return _pill(*words.REQUEST_PILLS[row.status])


@register.simple_tag
def outcome_pill(row: AccessRequest, now: datetime) -> SafeString:
    """What became of it: the access, the longer time, or the decision."""
    if (grant := getattr(row, "grant", None)) is not None:
        return grant_pill(grant, now)
    if (extension := getattr(row, "extension", None)) is not None:
        return _pill(*words.EXTENSION_PILLS[extension.status])
    return request_pill(row)


@register.filter
def asked_time(row: AccessRequest) -> str:
    """`1 h`; of more time for access that lives `+30 min`."""
    return f"{'+' if row.extends_id else ''}{words.span(row.minutes)}"


@register.simple_tag
def risk(level: str) -> SafeString:
    """Bars and a word."""
    bars = words.RISK_BARS[level]
    drawn = format_html_join("", '<b class="{}"></b>', [("on" if n <= bars else "",) for n in (1, 2, 3, 4)])
    return format_html(
        '<span class="risk {}"><i aria-hidden="true">{}</i>{} risk</span>', level, drawn, level.capitalize()
    )


@register.filter
def factor_name(name: str) -> str:
    return words.RISK_FACTORS.get(name, name.replace("_", " ").capitalize())


@register.filter
def thousands(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


@register.filter
def seconds_words(value: float | None) -> str:
    """`2.5 s`, `14 min`, `3.2 h`; a dash where there was nothing to measure."""
    if value is None:
        return "–"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.1f} h"


@register.filter
def level_name(level: str) -> str:
    return words.LEVELS[level][0]


@register.filter
def connection_name(connection: str) -> str:
    return words.CONNECTIONS[connection][0]


@register.filter
def step_words(step: dict[str, Any]) -> str:
    """A step of a route, as approvals and the preview give it."""
    return words.step(step["kind"], step["group"], step["needed"])


@register.filter
def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


@register.simple_tag
def querystring_of(kept: dict[str, Any], **more: Any) -> str:
    """`?…` with these fields, escaped for an address; empty where there are none."""
    given = {**kept, **more}
    return f"?{urlencode(given)}" if given else ""


def _pill(tone: str, text: str) -> SafeString:
    return format_html('<span class="pill {}">{}</span>', tone, text)
