"""Text that people give: what no database and no record could hold is refused at the door."""

import re
from typing import Final

from apps.core.errors import Invalid

# With these a text reads differently from what it says (CVE-2021-42574).
_MISLEADING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def checked(value: object, *, what: str, field: str, at_most: int, required: bool = False) -> str:
    """`value` without surrounding white space. `what` begins the sentence: "The reason". Raises Invalid."""
    if not isinstance(value, str):
        raise Invalid(f"{what} is a text.", field=field)
    if "\0" in value:
        raise Invalid(f"{what} holds a NUL character; remove it.", field=field)
    try:
        value.encode()
    except UnicodeEncodeError as error:  # a lone surrogate
        raise Invalid(f"{what} holds half a character; remove it.", field=field) from error
    if _MISLEADING.search(value):
        raise Invalid(f"{what} holds characters that turn the direction of writing; remove them.", field=field)
    text = value.strip()
    if required and not text:
        raise Invalid(f"{what} is empty; please write one.", field=field)
    if len(text) > at_most:
        raise Invalid(f"{what} has {len(text)} characters; at most {at_most} are kept.", field=field)
    return text
