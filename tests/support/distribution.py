"""How tests are handed out to processes: what stays together, and what goes first."""

import re
from pathlib import PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# A whole portal is dear to start, so tests share one, in one process; much of their time they wait, so there are two.
_SHARE_A_DEMO = {"tests/browser": "a demo in the browser", "tests/story": "a demo", "tests/cli": "a demo"}
_VERSION = re.compile(r"\[(pg\d+)")
# What waits for people's minutes to pass goes first, then what takes longest: so no process is left with a long file
# while the others have ended.
_FIRST = (
    *_SHARE_A_DEMO,
    "tests/jitportal/test_demo.py",
    "tests/bypass/test_teeth.py",
    "tests/bypass",
    "tests/engines",
    "tests/grants",
)


def rank(path: str) -> int:
    """The place of a file in the order."""
    return next((place for place, start in enumerate(_FIRST) if path.startswith(start)), len(_FIRST))


def unit(nodeid: str) -> str:
    """Tests of one unit run in one process: those of a file on one version of PostgreSQL, so that what they share is
    made once.
    """
    path, _, test = nodeid.partition("::")
    if demo := _SHARE_A_DEMO.get(str(PurePosixPath(path).parent)):
        return demo
    version = _VERSION.search(test)
    return f"{path} {version[1]}" if version else path


class InOrder(LoadScopeScheduling):
    """A unit at a time, in the order of collection: by itself xdist takes the unit with the most tests first."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
