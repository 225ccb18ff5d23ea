"""What work on a server has shown, in words for its page in the admin."""

from django.contrib import admin
from django.template.defaultfilters import date
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.catalog.models import Server
from apps.engines.postgresql import names
from apps.grants.models import ServerState


@admin.display(description="does it answer")
def reached(server: Server) -> str:
    state = ServerState.objects.filter(server=server).first()
    if state is None or state.unreachable_since is None:
        return "yes, as far as is known"
    since, again = date(state.unreachable_since, "Y-m-d H:i:s"), date(state.next_probe_at, "H:i:s")
    return (
        f"not since {since} UTC: {state.problem} It is asked again at {again} UTC, and so on until it answers; what "
        "has to end there ends then. New sign-ins stop on time by the server's own clock."
    )


@admin.display(description="left behind")
def left_behind(server: Server) -> SafeString:
    """What ended logins owned and others depend on, and what there is to do about it."""
    state = ServerState.objects.filter(server=server).first()
    if state is None or not state.graveyard:
        return SafeString("nothing")
    advice = SafeString(
        "<p>Ended logins owned these, and others depend on them. Each belongs to a role without any right, which "
        "nobody can sign in as. In its database, give it to whom it should belong to (<code>REASSIGN OWNED BY … TO …"
        "</code>), or drop it with what depends on it (<code>DROP OWNED BY … CASCADE</code>); then "
        "<code>DROP ROLE …</code>.</p>"
    )
    rows = [
        (one["database"], one["object"], names.graveyard_name(one["login"]), one["login"], one["at"][:10])
        for one in state.graveyard
    ]
    listed = format_html_join("", "<li>{}: {}, owned by <code>{}</code>, left by {} on {}</li>", rows)
    return format_html("{}<ul>{}</ul>", advice, listed)
