"""Writing where writing would tell, or would open something."""

from tests.bypass.attack import family

ATTACKS = family(
    "writing",
    (
        "the masked column",
        "UPDATE people SET ssn = 'x' WHERE id = 7",
        "INSERT INTO people (id, region, grade, ssn) VALUES (902, 'EU', 1, 'x')",
    ),
    (
        "the base table",
        "UPDATE app.people SET note = ssn",
        "INSERT INTO app.people (region, grade) VALUES ('EU', 1)",
        "DELETE FROM app.people",
    ),
    ("a masked generated column", "UPDATE people SET yearly = DEFAULT", "UPDATE people SET salary = DEFAULT"),
    (
        "a default that reads",
        "INSERT INTO people (id, region, grade, email) VALUES (903, 'EU', 1, DEFAULT) RETURNING *",
    ),
    ("the tied grade", "UPDATE people SET grade = 2 WHERE id = 7"),
    ("the region of a unique index", "UPDATE people SET region = 'US' WHERE id = 6"),
    ("the team of an expression index", "UPDATE people SET team = -1 WHERE id = 7", "UPDATE people SET team = -1"),
    ("the predicate of a partial index", "UPDATE people SET active = false"),
    (
        "a foreign key to a masked column",
        "UPDATE people SET badge = 1",
        "INSERT INTO people (id, region, grade, badge) VALUES (904, 'EU', 1, 5)",
    ),
    ("rows that others refer to", "DELETE FROM people WHERE id = 7", "DELETE FROM people"),
    (
        "a cascade that fails on rows of others",
        "UPDATE teams SET id = 999 WHERE id = 1",
        "INSERT INTO teams (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 999",
        "MERGE INTO teams t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET id = 999",
    ),
    ("a delete that empties rows of others", "DELETE FROM teams WHERE id = 1", "DELETE FROM teams"),
    (
        "a check that was never validated",
        "UPDATE members SET note = 'x' WHERE id = 1",
        "INSERT INTO members (id, team_id) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET note = 'x'",
    ),
    ("truncate", "TRUNCATE people", "TRUNCATE app.people CASCADE", "TRUNCATE visits"),
    (
        "a trigger that tells",
        "LISTEN app_rows",
        "UPDATE accounts SET label = 'x'",
        "INSERT INTO accounts (label) VALUES ('x')",
        "SELECT 1",
    ),
    (
        "a trigger of one's own",
        "CREATE TRIGGER mine BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION app.told()",
        "CREATE TRIGGER mine INSTEAD OF UPDATE ON @v@.people FOR EACH ROW EXECUTE FUNCTION app.told()",
    ),
    (
        "a rule",
        "CREATE RULE mine AS ON SELECT TO @v@.people DO INSTEAD SELECT * FROM app.people",
        "CREATE RULE mine AS ON UPDATE TO people DO ALSO SELECT * FROM app.people",
    ),
    (
        "replacing the view",
        "CREATE OR REPLACE VIEW @v@.people AS SELECT * FROM app.people",
        "ALTER VIEW @v@.people SET (security_invoker = true)",
        "ALTER VIEW people OWNER TO @login@",
        "DROP VIEW people",
    ),
    (
        "altering the view's options",
        "ALTER VIEW @v@.people RESET (security_barrier)",
        "ALTER VIEW @v@.people ALTER COLUMN ssn SET DEFAULT 'x'",
    ),
    (
        "an index of one's own",
        "CREATE INDEX ON app.people (ssn)",
        "CREATE INDEX ON people (ssn)",
        "CREATE STATISTICS s ON ssn, id FROM app.people",
    ),
    (
        "altering the table",
        "ALTER TABLE app.people ADD COLUMN x text",
        "ALTER TABLE app.people DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE app.people OWNER TO @login@",
    ),
    ("a policy", "CREATE POLICY mine ON app.people USING (true)", "SET row_security = off", "SELECT * FROM people"),
    (
        "hidden rows pulled in",
        "UPDATE staff SET region = 'EU'",
        "UPDATE staff SET region = 'EU' WHERE region = 'US'",
        "INSERT INTO staff VALUES (9999, 'US', 1, 'x')",
        "DELETE FROM staff WHERE level > 0",
    ),
    (
        "escaping the check option",
        "INSERT INTO visits (person_id, place) SELECT id, ssn FROM app.people",
        "INSERT INTO visits (person_id, place) SELECT id, ssn FROM people RETURNING *",
    ),
    (
        "a comment",
        "COMMENT ON COLUMN @v@.people.ssn IS 'x'",
        "COMMENT ON VIEW @v@.people IS 'x'",
        "COMMENT ON ROLE @scope@ IS 'x'",
        "COMMENT ON ROLE jitportal_lock IS 'x'",
    ),
    ("COPY FROM", "COPY people (id, region, grade) FROM STDIN", "COPY app.people FROM STDIN"),
    (
        "overriding",
        "INSERT INTO people (id, region, grade) OVERRIDING SYSTEM VALUE VALUES (905, 'EU', 1) RETURNING *",
        "INSERT INTO people (id, region, grade) OVERRIDING USER VALUE VALUES (906, 'EU', 1) RETURNING *",
    ),
    (
        "events",
        "UPDATE events SET kind = kind RETURNING *",
        "INSERT INTO events (id, happened, kind) VALUES (1, '2001-01-01', 'x') RETURNING *",
        "UPDATE events SET happened = '2021-01-01'",
    ),
    ("a deferred error", "BEGIN", "UPDATE people SET note = 'x'", "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK"),
)
