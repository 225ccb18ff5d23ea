"""Refusals. Each is a sentence for the person who can act, and knows its HTTP status."""


class PortalError(Exception):
    """Base of every refusal. `field` names the input it is about, where there is one."""

    status = 500
    title = "Something went wrong"

    def __init__(self, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.field = field

    @property
    def more(self) -> dict[str, object]:
        """What a program may want to know besides."""
        return {}


class Invalid(PortalError):
    """What was given cannot be meant: 422."""

    status = 422
    title = "This cannot be asked for"


class NotAllowed(PortalError):
    """Understood, and refused to this person: 403."""

    status = 403
    title = "Not allowed"


class NotFound(PortalError):
    """Not there, or not visible to whoever asks: 404, the same for both."""

    status = 404
    title = "Not found"


class Conflict(PortalError):
    """The world has moved on since the person looked: 409."""

    status = 409
    title = "No longer possible"


class NotSeen(PortalError):
    """Known, but nobody has vouched for this person lately: 401. Signing in once mends it."""

    status = 401
    title = "Sign in once"
