"""Text that people give: what no database and no record could hold is refused at the door."""

from apps.core.errors import Invalid


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
    text = value.strip()
    if required and not text:
        raise Invalid(f"{what} is empty; please write one.", field=field)
    if len(text) > at_most:
        raise Invalid(f"{what} has {len(text)} characters; at most {at_most} are kept.", field=field)
    return text
