"""Logins on a target PostgreSQL server, 15 and newer."""

from apps.engines.postgresql.engine import PostgresEngine

__all__ = ["PostgresEngine"]
