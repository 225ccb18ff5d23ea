"""The console's pages: what they answer, also without scripts, and to whom not at all (E5)."""

import json
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.urls import reverse

from apps.accounts.models import User
from apps.console.models import Change, Statement
from apps.core import clock
from apps.grants import services as grants
from apps.grants.models import Grant
from tests.console.scene import entries, live, request
from tests.factories import Cast
from tests.grants import conftest
from tests.grants.stage import after
from tests.support.people import signed_in

databases, people, left_behind = conftest.databases, conftest.people, conftest.left_behind

STOCK = ("stock.products",)
TAG = "<script>alert(1)</script>"


def post(user: User, grant: Grant, name: str, *more: str, **fields: Any) -> Any:
    return signed_in(user).post(reverse(f"portal:{name}", args=[grant.pk, *more]), fields)


def told(answer: HttpResponseBase) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.getvalue().splitlines()]  # type: ignore[attr-defined]


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_console_when_it_is_opened(people: Cast) -> None:
    page = text(signed_in(people.alice).get(reverse("portal:console", args=[live(people).pk])))

    assert 'data-insert="customers"' in page
    assert 'data-insert="sales.orders"' not in page  # through views of another schema
    assert "first letter and domain" in page
    assert 'id="export"' not in page
    assert 'id="begin"' not in page


def test_run_when_all_is_well(people: Cast) -> None:
    answer = post(people.alice, live(people), "console_run", sql=f"SELECT '{TAG}' AS tag, NULL AS n, '' AS blank")

    assert (answer["Content-Type"], answer["Cache-Control"]) == ("application/x-ndjson", "no-store")
    events = told(answer)
    assert [event["event"] for event in events] == ["started", "columns", "rows", "done"]
    assert events[2]["rows"] == [[TAG, None, ""]]


def test_run_when_nobody_reads_its_answer(people: Cast) -> None:
    grant = live(people)

    post(people.alice, grant, "console_run", sql="SELECT 1").close()
    halfway = post(people.alice, grant, "console_run", sql="SELECT 1 FROM generate_series(1, 1000)")
    next(iter(halfway))
    halfway.close()

    assert not Statement.objects.filter(status="running").exists()


@pytest.mark.parametrize("sql", ["", "LISTEN x", "SET ROLE postgres", "COPY orders FROM PROGRAM 'id'", "BEGIN"])
def test_run_when_it_is_refused(people: Cast, sql: str) -> None:
    answer = post(people.alice, live(people), "console_run", sql=sql)

    assert answer.status_code == 422
    assert answer.json()["sentence"]
    assert not Statement.objects.exists()


def test_run_when_it_is_started_twice(people: Cast) -> None:
    grant = live(people)

    first, second = (post(people.alice, grant, "console_run", sql="SELECT 1", once="k" * 32) for _ in range(2))
    events = [told(first), told(second) if second.status_code == 200 else [second.json()]]

    assert events[0][-1]["event"] == "done"
    assert events[1][-1].get("event", "refused") in {"failed", "refused"}
    assert Statement.objects.count() == 1


def test_console_when_scripts_are_off(people: Cast) -> None:
    grant = live(people)

    page = text(post(people.alice, grant, "console", sql=f"SELECT '{TAG}' AS tag, NULL AS n, '' AS blank"))
    assert "&lt;script&gt;alert(1)" in page
    assert TAG not in page
    assert '<span class="null">NULL</span>' in page
    assert '<span class="empty-text">' in page

    page = text(post(people.alice, grant, "console", sql="SELECT 1,\r\n nme"))
    assert '<mark class="wrong">nme</mark>' in page
    assert "line 2, column 2" in page

    page = text(post(people.alice, grant, "console", sql="SELECT n, n FROM generate_series(1, 100000) n"))
    assert page.count("<tr>") <= 1_001
    assert "are shown" in page

    (past, *_) = Statement.objects.all()
    again = text(signed_in(people.alice).get(reverse("portal:console", args=[grant.pk]), {"again": past.pk}))
    assert "generate_series(1, 100000)" in again


def test_console_when_rows_are_changed_without_scripts(people: Cast) -> None:
    grant = live(people, level="change", tables=STOCK)
    sql = "INSERT INTO stock.products (id, title) VALUES (101, 'x')"

    assert "olled back" in text(post(people.alice, grant, "console", sql=sql, do="try"))
    assert "olled back" in text(post(people.alice, grant, "console", sql=sql, do="commit", expected_rows="7"))
    assert "Committed: 1 row" in text(post(people.alice, grant, "console", sql=sql, do="commit", expected_rows="1"))
    undo = "DELETE FROM stock.products WHERE id = 101"
    assert "Committed: 1 row" in text(post(people.alice, grant, "console", sql=undo, do="commit"))
    assert "whole number" in text(post(people.alice, grant, "console", sql=sql, do="commit", expected_rows="¹"))
    assert list(Change.objects.order_by("begun_at").values_list("status", flat=True)) == [
        "rolled_back",
        "rolled_back",
        "committed",
        "committed",
    ]


def test_export_when_it_is_whole_or_wrong(people: Cast) -> None:
    grant = live(people, level="export")

    answer = post(people.alice, grant, "console_export", sql="SELECT 1 AS n, NULL AS m", format="csv")
    assert answer.getvalue() == b"n,m\n1,\n"
    assert answer["Content-Disposition"].startswith('attachment; filename="shop-')
    wrong = text(post(people.alice, grant, "console_export", sql="SELECT nothing", format="csv"))
    assert "SELECT nothing</textarea>" in wrong
    assert '<mark class="wrong">nothing</mark>' in wrong
    assert post(people.alice, grant, "console_export", sql="SELECT 1", format="../../x").status_code == 422


def test_statement_when_it_was_approved(people: Cast) -> None:
    sql = "UPDATE stock.products SET title = title WHERE id = -1 -- <b>"
    row = request(people, level="change", tables=STOCK, statement=sql, expected_rows=1)
    seen = text(signed_in(people.dana).get(reverse("portal:request", args=[row.pk])))
    assert "WHERE id = -1 -- &lt;b&gt;</pre>" in seen
    assert "Rolled back unless it affects 1 row." in seen
    grants.open_approved()
    grant = Grant.objects.get(request=row)
    grants.issue(grant_id=grant.pk)

    assert "Update on products" in text(post(people.alice, grant, "explain"))
    assert "olled back" in text(post(people.alice, grant, "run_once"))
    assert post(people.alice, grant, "run_once").status_code == 409
    for person in (people.alice, people.dana):
        seen = text(signed_in(person).get(reverse("portal:request", args=[row.pk])))
        assert "It ran and was rolled back" in seen
        assert "Run it once" not in seen


def test_plan_when_the_statement_would_fail_does_not_offer_to_run_it(people: Cast) -> None:
    grant = live(people, level="change", tables=STOCK, statement="UPDATE stock.products SET nothing = 1")
    seen = text(post(people.alice, grant, "explain"))
    assert '<mark class="wrong">nothing</mark>' in seen
    assert "it would fail in the same way" in seen
    assert "Run it once" not in seen


WAYS = ("console_run", "console_export", "console_begin", "explain", "run_once", "console")


def statuses(user: User, grant: Grant, **more: str) -> set[int]:
    answers = [post(user, grant, way, sql="SELECT 1", **more) for way in WAYS]
    for answer in answers:
        answer.close()
    return {answer.status_code for answer in answers}


def test_console_when_it_is_somebody_elses(people: Cast) -> None:
    grant = live(people, level="change", tables=STOCK)

    for person, status in ((people.carol, 404), (people.bob, 403), (people.dana, 403), (people.sam, 403)):
        assert statuses(person, grant) == {status}
        client = signed_in(person)
        assert client.get(reverse("portal:console", args=[grant.pk])).status_code == status
        assert client.get(reverse("portal:console_now", args=[grant.pk])).status_code == status
    assert not Statement.objects.exists()
    assert {line.action for line in entries(grant, "statement.")} == {"statement.refused"}


def test_console_when_the_access_is_over(people: Cast) -> None:
    expired, revoked = live(people, level="export"), live(people, level="change", tables=STOCK)
    grants.revoke(actor=people.dana, grant_id=revoked.pk, reason="No more")

    assert statuses(people.alice, revoked) == {409}
    with clock.shifted(after(expired)):
        assert statuses(people.alice, expired) == {409}
        page = text(signed_in(people.alice).get(reverse("portal:console", args=[expired.pk])))
        now = text(signed_in(people.alice).get(reverse("portal:console_now", args=[expired.pk])))
    for shown in (page, now):
        assert 'data-open="no"' in shown
        assert "Your access has ended: nothing more runs." in shown
    assert 'id="run"' not in page


def test_say_when_the_transaction_is_not_ones_own(people: Cast) -> None:
    grant = live(people, level="change", tables=STOCK)
    stream = post(people.alice, grant, "console_begin")
    begun = json.loads(next(iter(stream)))

    assert post(people.bob, grant, "console_say", begun["transaction"], do="commit").status_code == 404
    assert post(people.bob, grant, "console_beat", begun["transaction"]).status_code == 404
    assert post(people.alice, grant, "console_say", begun["transaction"], do="nonsense").status_code == 422
    assert post(people.alice, grant, "console_beat", begun["transaction"]).status_code == 204
    stream.close()

    assert Change.objects.get().status == "rolled_back"
    assert post(people.alice, grant, "console_say", begun["transaction"], do="commit").status_code == 409
