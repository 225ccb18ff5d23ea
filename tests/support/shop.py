"""The demo's databases on a server that other tests share."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from jitportal.demo import shop
from tests.support.targets import TargetServer


@contextmanager
def hardened(target: TargetServer) -> Iterator[None]:
    """As the demo hardens its server; taken back afterwards, because it is about every database."""
    shop.harden(target.cluster)
    yield
    with target.admin() as admin:
        for (name,) in admin.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
            admin.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(name)))
