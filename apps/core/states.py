"""A life cycle is one table of transitions, read by Python for the message and by PostgreSQL for the truth."""

from collections.abc import Mapping

from apps.core.errors import Conflict

Transitions = Mapping[str, frozenset[str]]


def require(transitions: Transitions, *, old: str, new: str, noun: str) -> None:
    """Raise Conflict unless `old` may become `new`."""
    if new not in transitions.get(old, frozenset()):
        raise Conflict(f"This {noun} is {old}; it can no longer become {new}.")


def trigger_sql(table: str, transitions: Transitions, *, initial: str) -> str:
    """A trigger that refuses every other change of `status`. All names come from our own code, none from input."""
    allowed = " OR ".join(
        f"(OLD.status = '{old}' AND NEW.status IN ({', '.join(repr(str(new)) for new in sorted(news))}))"
        for old, news in transitions.items()
        if news
    )
    return f"""
CREATE FUNCTION {table}_check_status() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF TG_OP = 'INSERT' AND NEW.status <> '{initial}' THEN
    RAISE EXCEPTION '{table}: a new row starts as {initial}, not %', NEW.status USING ERRCODE = 'check_violation';
  ELSIF TG_OP = 'UPDATE' AND NEW.status <> OLD.status AND NOT ({allowed}) THEN
    RAISE EXCEPTION '{table}: % cannot become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER {table}_check_status BEFORE INSERT OR UPDATE OF status ON {table}
  FOR EACH ROW EXECUTE FUNCTION {table}_check_status();
"""


def drop_trigger_sql(table: str) -> str:
    """Undo trigger_sql()."""
    return f"DROP TRIGGER {table}_check_status ON {table}; DROP FUNCTION {table}_check_status();"
