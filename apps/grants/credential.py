"""What a native client needs to log in."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Credential:
    """`valid_until` is when it stops working."""

    host: str
    port: int
    database: str
    username: str
    password: str = field(repr=False)
    valid_until: datetime
    url: str = field(repr=False)
    sslmode: str
