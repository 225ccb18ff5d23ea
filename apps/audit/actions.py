"""What can be told in the record: one word per act, `subject.verb`. Words are added, never changed or reused."""

from enum import StrEnum
from typing import Final


class Action(StrEnum):
    """The value stands in the entry's body for ever."""

    ACCOUNT_SIGNED_IN = "account.signed_in"
    ACCOUNT_SIGN_IN_REFUSED = "account.sign_in_refused"
    ACCOUNT_GROUPS_CHANGED = "account.groups_changed"
    ACCOUNT_PROVISIONED = "account.provisioned"
    ACCOUNT_DEACTIVATED = "account.deactivated"
    ACCOUNT_REACTIVATED = "account.reactivated"
    ACCOUNT_EMERGENCY_CREATED = "account.emergency_created"
    ACCOUNT_EMERGENCY_SIGNED_IN = "account.emergency_signed_in"
    TOKEN_CREATED = "token.created"  # noqa: S105 - a word, no secret
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - a word, no secret
    SESSION_ENDED = "session.ended"
    ACCOUNT_SIGN_IN_WANTED = "account.sign_in_wanted"  # live access ends soon unless they do
    ACCOUNT_STEPPED_UP = "account.stepped_up"  # proved anew who they are
    GROUP_CHANGED = "group.changed"

    EDIT_PROPOSED = "edit.proposed"  # it widens access, and waits for a second person
    EDIT_AGREED = "edit.agreed"  # and was made: what it did is told just before
    EDIT_DECLINED = "edit.declined"
    EDIT_WITHDRAWN = "edit.withdrawn"
    EDIT_REFUSED = "edit.refused"  # somebody tried to agree who may not

    SERVER_ADDED = "server.added"
    SERVER_CHANGED = "server.changed"
    SERVER_PREFLIGHTED = "server.preflighted"
    SERVER_UNREACHABLE = "server.unreachable"
    SERVER_REACHED = "server.reached"  # it answers again
    MANAGER_PASSWORD_CHANGING = "manager.password_changing"  # noqa: S105 - intent
    MANAGER_PASSWORD_CHANGED = "manager.password_changed"  # noqa: S105 - the server lets the manager in with it
    KEYS_ROTATED = "keys.rotated"  # what is kept opens with the newest keys
    SERVER_RETIRED = "server.retired"  # nothing of the portal's is left there
    LOGIN_STRAY = "login.stray"  # not known to the portal: it is disabled, or (`member_of`) loses the rights of a grant
    OBJECTS_LEFT = "objects.left"  # what an ended login owned lies in the graveyard
    PORTAL_RESTORED = "portal.restored"  # targets remember more than the record: nothing is done on them
    PORTAL_CONFIRMED = "portal.confirmed"  # an operator lets it go on, and names what is lost
    SERVER_PORTAL_CONFIRMED = "server.portal_confirmed"
    DATABASE_ADDED = "database.added"
    DATABASE_CHANGED = "database.changed"
    CATALOG_SYNCED = "catalog.synced"
    COLUMN_CLASSIFIED = "column.classified"
    SUGGESTION_DISMISSED = "suggestion.dismissed"  # a guess that a column holds personal data
    CLASSIFICATION_IMPORTED = "classification.imported"
    CLASSIFICATION_EXPORTED = "classification.exported"
    DATA_CLASS_CHANGED = "data_class.changed"
    FILTER_ADDED = "filter.added"  # rows of a table that every grant is limited to
    FILTER_REMOVED = "filter.removed"
    TABLE_PAUSED = "table.paused"  # its masking views go, for a migration
    TABLE_RESUMED = "table.resumed"
    NOTIFYING_ACCEPTED = "notifying.accepted"  # direct connections although functions notify (field notes S6)
    POLICY_CHANGED = "policy.changed"
    RIGHTS_CHANGED = "rights.changed"

    REQUEST_SUBMITTED = "request.submitted"
    REQUEST_REFUSED = "request.refused"
    REQUEST_APPROVED = "request.approved"  # the whole route is satisfied
    REQUEST_DENIED = "request.denied"
    REQUEST_CANCELLED = "request.cancelled"
    REQUEST_LAPSED = "request.lapsed"
    DECISION_APPROVED = "decision.approved"
    DECISION_NARROWED = "decision.narrowed"
    DECISION_DENIED = "decision.denied"
    DECISION_REFUSED = "decision.refused"  # somebody tried to decide who may not

    GRANT_QUEUED = "grant.queued"
    GRANT_ISSUING = "grant.issuing"  # intent: nothing has happened on the target yet
    GRANT_ISSUED = "grant.issued"
    GRANT_ISSUE_FAILED = "grant.issue_failed"  # will be tried again
    GRANT_FAILED = "grant.failed"  # given up, after absence was read back
    GRANT_EXPIRING = "grant.expiring"
    GRANT_EXTENDING = "grant.extending"  # intent: the target knows the old end yet
    GRANT_EXTENDED = "grant.extended"
    GRANT_EXTEND_FAILED = "grant.extend_failed"
    GRANT_RELEASED = "grant.released"
    GRANT_REVOKED = "grant.revoked"
    GRANT_WITHDRAWN = "grant.withdrawn"  # the catalog allows less than it shows, or a table of it is paused
    GRANT_ENDING = "grant.ending"  # intent, with its cause
    GRANT_ENDED = "grant.ended"  # absence was read back from the target
    GRANT_END_FAILED = "grant.end_failed"  # will be tried again
    GRANT_LATE = "grant.late"  # access should be gone and is not proven to be
    GRANT_UNENTITLED = "grant.unentitled"  # its holder may no longer hold it
    GRANT_SESSION_CUT = "grant.session_cut"  # it stood in somebody's way
    ACCESS_REVOKED = "access.revoked"  # all of a person, of a database, or everything
    REVIEW_OPENED = "review.opened"  # the glass was broken
    REVIEW_CLOSED = "review.closed"
    REVIEW_REFUSED = "review.refused"  # somebody tried to close one who may not
    GRANT_REFUSED = "grant.refused"  # somebody tried to use or end the access who may not
    DRIFT_FOUND = "drift.found"  # the target is not as it was proven to be
    CREDENTIAL_SHOWN = "credential.shown"

    CREDENTIAL_RESET_WANTED = "credential.reset_wanted"  # its holder had changed the password (field notes R12)
    CREDENTIAL_RESETTING = "credential.resetting"  # intent
    CREDENTIAL_RESET = "credential.reset"

    STATEMENT_STARTED = "statement.started"  # intent: it has not run yet
    STATEMENT_FINISHED = "statement.finished"
    STATEMENT_REFUSED = "statement.refused"
    CHANGE_BEGUN = "change.begun"  # a transaction that can change something
    CHANGE_COMMITTING = "change.committing"  # intent
    CHANGE_ENDED = "change.ended"  # committed, rolled back, or nobody knows

    PERSON_ERASED = "person.erased"  # who they were, beside the record and on the pages; what they did stays
    BUNDLE_WANTED = "bundle.wanted"  # evidence of a period, as one file
    BUNDLE_MADE = "bundle.made"
    BUNDLE_FAILED = "bundle.failed"
    BUNDLE_TAKEN = "bundle.taken"  # somebody carries it away
    RECORD_READ = "record.read"
    RECORD_EXPORTED = "record.exported"
    RECORD_BROKEN = "record.broken"  # an anchor has seen another history: nothing is signed
    RECORD_ALTERED = "record.altered"  # a worker has followed it, and it is not as it was sealed
    RECORD_BREAK_PROPOSED = "record.break_proposed"  # to go on with this history, by one person
    RECORD_BREAK_CONFIRMED = "record.break_confirmed"  # and by another
    SIGNING_KEY_ADDED = "signing_key.added"


WORKER_ROLE: Final = "jitportal_worker"
# A web process that was taken over must not be able to claim what only happens on a target, call everybody, or agree
# to a break of the record alone: these count only when the database says that a worker's role recorded them.
WORKER_ONLY: Final = frozenset(
    {
        Action.GRANT_ISSUED,
        Action.GRANT_EXTENDED,
        Action.GRANT_ENDED,
        Action.GRANT_LATE,
        Action.GRANT_SESSION_CUT,
        Action.RECORD_BROKEN,
        Action.RECORD_BREAK_PROPOSED,
        Action.SIGNING_KEY_ADDED,
    }
)
