"""Whether tests run their long profile: every statement, every storm, many more examples. `make soak` does."""

import os
from typing import Final

SOAK: Final = bool(os.environ.get("JITPORTAL_SOAK"))
