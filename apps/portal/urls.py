"""The pages."""

from django.urls import path

from apps.portal.views import ask, console, grants, health, home, notifications, record, requests, revoking

app_name = "portal"
urlpatterns = [
    path("", home.home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("metrics", health.metrics, name="metrics"),
    path("ask/", ask.ask, name="ask"),
    path("ask/preview/", ask.preview, name="ask_preview"),
    path("ask/tables/", ask.tables, name="ask_tables"),
    path("inbox/", requests.inbox, name="inbox"),
    path("requests/", requests.index, name="requests"),
    path("requests/<str:request_id>/", requests.show, name="request"),
    path("requests/<str:request_id>/approve/", requests.approve, name="approve"),
    path("requests/<str:request_id>/deny/", requests.deny, name="deny"),
    path("requests/<str:request_id>/review/", requests.review, name="review"),
    path("requests/<str:request_id>/cancel/", requests.cancel, name="cancel"),
    path("grants/", grants.index, name="grants"),
    path("grants/<str:grant_id>/", grants.show, name="grant"),
    path("grants/<str:grant_id>/credential/", grants.credential, name="credential"),
    path("grants/<str:grant_id>/console/", console.console, name="console"),
    path("grants/<str:grant_id>/console/now/", console.now, name="console_now"),
    path("grants/<str:grant_id>/console/run/", console.run, name="console_run"),
    path("grants/<str:grant_id>/console/export/", console.export, name="console_export"),
    path("grants/<str:grant_id>/console/change/", console.begin, name="console_begin"),
    path("grants/<str:grant_id>/console/change/<str:transaction_id>/", console.say, name="console_say"),
    path("grants/<str:grant_id>/console/change/<str:transaction_id>/beat/", console.beat, name="console_beat"),
    path("grants/<str:grant_id>/explain/", console.explain, name="explain"),
    path("grants/<str:grant_id>/once/", console.run_once, name="run_once"),
    path("grants/<str:grant_id>/console/cancel/<str:statement_id>/", console.cancel, name="console_cancel"),
    path("grants/<str:grant_id>/login/", grants.login, name="login_check"),
    path("grants/<str:grant_id>/reset/", grants.reset, name="reset_password"),
    path("grants/<str:grant_id>/extend/", requests.extend, name="extend"),
    path("grants/<str:grant_id>/release/", grants.release, name="release"),
    path("grants/<str:grant_id>/revoke/", grants.revoke, name="revoke"),
    path("revoke/", revoking.revoke_all, name="revoke_all"),
    path("notifications/", notifications.index, name="notifications"),
    path("notifications/read/", notifications.read, name="notifications_read"),
    path("record/", record.index, name="record"),
    path("record/trail.csv", record.download, name="record_csv"),
    path("record/check/", record.check, name="record_check"),
]
