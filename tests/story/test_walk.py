"""The story of the README over the API and psql, on a machine that needs no browser for it."""

import os
import subprocess
import sys

from tests.support.demo import ROOT, RunningDemo

OURS = ("JITPORTAL_", "DATABASE_", "EMAIL_", "DJANGO_")


def test_walk_the_whole_way_when_the_demo_runs(demo: RunningDemo) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    command = [sys.executable, "tests/story/walk.py", "--url", demo.url, "--data", str(demo.folder), "--minutes", "1"]
    walked = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False, timeout=600)
    assert walked.returncode == 0, walked.stdout + walked.stderr
