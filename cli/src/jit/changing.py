"""`jit change` and `jit apply`: statements that change something, in one transaction that the portal runs."""

from typing import Annotated, Any

import typer

from jit import access, reading, show, words
from jit.errors import Exit, Failure, Refused
from jit.options import Access, Json, Url, Yes
from jit.portal import Portal
from jit.reading import Sql

Commit = Annotated[bool, typer.Option("--commit", help="For good; without it everything is rolled back again.")]
Rows = Annotated[int | None, typer.Option("--expect-rows", help="Roll back unless so many rows are affected.", min=0)]
Plan = Annotated[bool, typer.Option("--plan", help="Only show how the database would run it.")]
# What PostgreSQL answers to EXPLAIN before DO, CALL, TRUNCATE and their like.
_SYNTAX_ERROR = "42601"


def change(
    what: Access, sql: Sql = None, commit: Commit = False, expect_rows: Rows = None, url: Url = None, json: Json = False
) -> None:
    """Run statements in one transaction: to try them out, or with --commit for good."""
    portal = Portal.signed_in(url)
    grant = access.held(portal, what)
    text = reading.statement(sql)
    body = {"sql": text, "commit": commit, "expected_rows": expect_rows}
    with reading.pointing(text):
        answer = portal.run(grant, "change", body)
    _tell(answer, json=json, wanted=commit)


def apply(what: Access, plan: Plan = False, yes: Yes = False, url: Url = None, json: Json = False) -> None:
    """Run the approved statement of your access, once. Its plan is shown first."""
    portal = Portal.signed_in(url)
    grant = access.held(portal, what)
    request = portal.get(f"/requests/{grant['request']}")
    if not request["statement"]:
        raise Failure(
            "No statement was approved with this access.",
            status=Exit.REFUSED,
            hint=f"Run what you need: `jit change {grant['id']}`, or `jit query {grant['id']}`.",
        )
    planned = _planned(portal, grant, only=plan)
    if plan and json:
        show.data(planned)
        return
    if not json:
        _show_plan(request, planned["plan"])
    if plan:
        return
    show.confirm("Run it, once?", yes=yes)
    _tell(portal.run(grant, "run", {}), json=json, wanted=True)


def _planned(portal: Portal, grant: dict[str, Any], *, only: bool) -> dict[str, Any]:
    """The plan, of no lines where there can be none; that is said, and refused where `only` the plan is wanted."""
    try:
        planned: dict[str, Any] = portal.run(grant, "explain", {})
    except Refused as refused:
        problem = refused.problem or {}
        if only or (problem.get("why"), problem.get("sqlstate")) != ("sql", _SYNTAX_ERROR):
            raise
        # It may be wrong itself, which looks the same: the database's own words let the person tell.
        show.say(f"There is no plan for this statement: EXPLAIN does not take it. {refused.sentence}", style="yellow")
        return {"plan": []}
    return planned


def _show_plan(request: dict[str, Any], plan: list[str]) -> None:
    show.quote(request["statement"])
    for line in plan:
        show.quote(words.cell(line), style="dim")
    if request["expected_rows"] is not None:
        show.say(f"Rolled back unless {_rows(request['expected_rows'])} affected.")


def _tell(answer: dict[str, Any], *, json: bool, wanted: bool) -> None:
    """What became of it. Ends with 1 where it was to be committed, and was not or nobody knows."""
    if json:
        show.data(answer)
    else:
        for result in answer["results"]:
            reading.show_result(result)
        if failed := answer["failed"]:
            show.say(failed["sentence"], style="red")
        style = {True: "green", False: "yellow", None: "red"}[answer["committed"]]
        show.say(answer["sentence"], style=style)
    if answer["failed"] or (wanted and not answer["committed"]):
        raise typer.Exit(int(Exit.FAILED))


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count:,} rows are"
