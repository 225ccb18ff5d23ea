"""What a DBA would have said about the demo's columns: (schema, table, column) -> (level, data class).

Columns that are not named here are `internal`. The schema logistics and some tables of the others hold nothing
about people.
"""

CONFIDENTIAL = "confidential"
RESTRICTED = "restricted"
INTERNAL = "internal"

CLASSIFIED: dict[tuple[str, str, str], tuple[str, str]] = {
    ("sales", "customers", "email"): (CONFIDENTIAL, "email"),
    ("sales", "customers", "full_name"): (CONFIDENTIAL, "name"),
    ("sales", "customers", "phone"): (CONFIDENTIAL, "phone"),
    ("sales", "customers", "date_of_birth"): (CONFIDENTIAL, "date_of_birth"),
    ("sales", "addresses", "street"): (CONFIDENTIAL, "address"),
    ("sales", "addresses", "postal_code"): (CONFIDENTIAL, "address"),
    ("sales", "payments", "card_number"): (RESTRICTED, "card"),
    ("sales", "payments", "card_holder"): (CONFIDENTIAL, "name"),
    ("hr", "employees", "full_name"): (CONFIDENTIAL, "name"),
    ("hr", "employees", "email"): (CONFIDENTIAL, "email"),
    ("hr", "employees", "national_id"): (RESTRICTED, "national_id"),
    ("hr", "employees", "date_of_birth"): (CONFIDENTIAL, "date_of_birth"),
    ("hr", "employees", "salary_cents"): (RESTRICTED, "salary"),
    ("hr", "absences", "kind"): (RESTRICTED, "health"),
    ("hr", "absences", "note"): (RESTRICTED, "health"),
    ("support", "tickets", "reporter_email"): (CONFIDENTIAL, "email"),
    ("support", "messages", "body"): (CONFIDENTIAL, "free_text"),
}
