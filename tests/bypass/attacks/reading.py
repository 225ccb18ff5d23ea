"""Direct reading, predicates, functions and operators."""

from tests.bypass.attack import family

ATTACKS = (
    *family(
        "direct",
        ("everything", "SELECT * FROM people"),
        ("each column", "SELECT id, name, email, phone, ssn, card, salary, bonus, score, ratio FROM people"),
        ("the base table", "SELECT * FROM app.people"),
        ("one column of the base table", "SELECT ssn FROM app.people"),
        ("only the base table", "SELECT * FROM ONLY app.people"),
        ("TABLE", "TABLE app.people", "TABLE people"),
        ("a partition", "SELECT * FROM app.events_old", "SELECT * FROM events_old", "SELECT * FROM events"),
        ("a table out of scope", "SELECT * FROM vault.badges", "SELECT * FROM app.absences"),
        ("the owner's view", "SELECT * FROM app.everybody", "SELECT ssn FROM app.everybody"),
        ("a join to the base table", "SELECT b.* FROM people v JOIN app.people b USING (id)"),
        ("after SET search_path", "SET search_path = app, vault", "SELECT * FROM people", "SELECT * FROM badges"),
        ("pg_temp first", "SET search_path = pg_temp, app", "SELECT * FROM people"),
        ("empty search_path", "SET search_path = ''", "SELECT * FROM @v@.people"),
        ("system columns", "SELECT ctid, xmin, tableoid, * FROM people", "SELECT ctid FROM people"),
        ("generated column", "SELECT id, yearly FROM people", "SELECT yearly / 12 FROM people"),
        ("rows that a filter leaves out", "SELECT * FROM staff WHERE region = 'US'", "SELECT * FROM app.staff"),
        (
            "tablesample",
            "SELECT * FROM people TABLESAMPLE SYSTEM (100)",
            "SELECT * FROM app.people TABLESAMPLE BERNOULLI (100)",
        ),
        ("sorted by the masked", "SELECT * FROM people ORDER BY salary", "SELECT * FROM people ORDER BY ssn DESC"),
        ("through a regclass", "SELECT * FROM ROWS FROM (query_to_xml('SELECT * FROM app.people', true, false, ''))"),
    ),
    *family(
        "predicate",
        ("the real value", "SELECT * FROM people WHERE ssn = '@ssn@'"),
        ("the real number", "SELECT * FROM people WHERE salary = @salary@"),
        ("like", "SELECT * FROM people WHERE ssn LIKE '%a%' OR ssn LIKE 'b%'"),
        (
            "a regular expression",
            "SELECT * FROM people WHERE ssn ~ '^[a-m]'",
            "SELECT substring(ssn FROM '.*') FROM people",
        ),
        ("between", "SELECT id, salary FROM people WHERE salary BETWEEN 0 AND 9999999999"),
        ("division in a predicate", "SELECT * FROM people WHERE 1 / (salary - @salary@) = 0"),
        ("case in a predicate", "SELECT * FROM people WHERE CASE WHEN ssn = '@ssn@' THEN 1 / 0 ELSE 1 END = 1"),
        ("having", "SELECT ssn, count(*) FROM people GROUP BY ssn HAVING max(salary) > 0"),
        (
            "exists with the base table",
            "SELECT id FROM people p WHERE EXISTS (SELECT FROM app.people b WHERE b.id = p.id)",
        ),
        ("in a subquery", "SELECT * FROM people WHERE ssn IN (SELECT ssn FROM people WHERE id = 7)"),
        ("is distinct from", "SELECT id FROM people WHERE ssn IS DISTINCT FROM '@ssn@'"),
        ("a cheap function first", "SELECT * FROM people WHERE pg_sleep(0) IS NOT NULL AND length(ssn) > 0"),
        ("a row comparison", "SELECT * FROM people p WHERE (p.*)::text > 'a'", "SELECT * FROM people p WHERE p > p"),
        ("similar to", "SELECT * FROM people WHERE ssn SIMILAR TO '(b|c|d)%'"),
        ("array overlap", "SELECT * FROM people WHERE tags && ARRAY['a'] OR marks @> ARRAY[1]::bigint[]"),
        ("json path", "SELECT * FROM people WHERE doc @? '$.*'", "SELECT jsonb_path_query(doc, '$.*') FROM people"),
        ("inet", "SELECT * FROM people WHERE addr << '0.0.0.0/0'", "SELECT host(addr) FROM people"),
        ("range", "SELECT lower(during) FROM people", "SELECT * FROM people WHERE during @> now()"),
    ),
    *family(
        "function",
        ("the owner's definer function", "SELECT app.peek(7)", "SELECT app.peek(id) FROM people"),
        ("its operator", "SELECT 'a' OPERATOR(app.~~~) 'b'", "SELECT '@ssn@' OPERATOR(app.~~~) 'x'"),
        (
            "a function of one's own",
            "CREATE FUNCTION peep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS "
            "$f$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $f$",
            "SELECT * FROM people WHERE peep(ssn)",
        ),
        (
            "one in pg_temp",
            "CREATE FUNCTION pg_temp.peep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS "
            "$f$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $f$",
            "SELECT * FROM people WHERE pg_temp.peep(ssn)",
        ),
        (
            "an anonymous block",
            "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM people LOOP RAISE NOTICE '%', r; END LOOP; END $$",
        ),
        (
            "a block on the base table",
            "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM app.people LOOP "
            "RAISE NOTICE '%', r; END LOOP; END $$",
        ),
        (
            "dynamic SQL",
            "DO $$ BEGIN EXECUTE 'SET LOCAL ROLE jitportal_masker'; RAISE NOTICE '%', "
            "(SELECT string_agg(ssn, ',') FROM app.people); END $$",
        ),
        (
            "an operator of one's own",
            "CREATE FUNCTION peep2(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = peep2)",
        ),
        ("a leakproof claim", "CREATE FUNCTION peep3(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'"),
        ("a lower cost", "ALTER FUNCTION pg_catalog.textlike(text, text) COST 0.0001"),
        (
            "query_to_xml",
            "SELECT query_to_xml('SELECT * FROM people', true, true, '')",
            "SELECT query_to_xml('SELECT * FROM app.people', true, true, '')",
        ),
        (
            "table_to_xml",
            "SELECT table_to_xml('app.people', true, true, '')",
            "SELECT schema_to_xml('app', true, true, '')",
            "SELECT database_to_xml(true, true, '')",
        ),
        (
            "cursor_to_xml",
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM people",
            "SELECT cursor_to_xml('c', 100, true, true, '')",
            "COMMIT",
        ),
        ("format and quote", "SELECT format('%L %I %s', ssn, name, salary) FROM people"),
        ("convert_to", "SELECT convert_to(ssn, 'UTF8'), encode(blob, 'hex'), encode(blob, 'base64') FROM people"),
        ("md5", "SELECT md5(ssn), sha256(ssn::bytea) FROM people"),
        ("hashtext", "SELECT hashtext(ssn), hashint8(salary) FROM people"),
        ("string_agg", "SELECT string_agg(ssn || name || email, ',') FROM people"),
        ("array_agg and unnest", "SELECT unnest(array_agg(p)) FROM people p", "SELECT array_agg(tags) FROM people"),
        ("reverse", "SELECT reverse(ssn), upper(ssn), initcap(name), translate(ssn, 'abc', 'xyz') FROM people"),
        (
            "to_char",
            "SELECT to_char(salary, '9,999,999,999'), to_char(born, 'J'), to_char(seen, 'YYYYMMDD') FROM people",
        ),
        ("extract", "SELECT extract(day FROM born), extract(epoch FROM seen), extract(doy FROM born) FROM people"),
        (
            "window functions",
            "SELECT id, lag(ssn) OVER (ORDER BY salary), first_value(name) OVER (ORDER BY born) FROM people",
        ),
        (
            "statistics",
            "SELECT min(ssn), max(ssn), min(salary), max(salary), avg(salary), stddev(ratio), sum(bonus) FROM people",
        ),
        (
            "percentiles",
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary), mode() WITHIN GROUP (ORDER BY ssn) FROM people",
        ),
        ("full text", "SELECT to_tsvector('simple', ssn || ' ' || name), ts_headline(ssn, 'a'::tsquery) FROM people"),
        (
            "ts_stat",
            "SELECT * FROM ts_stat('SELECT to_tsvector(''simple'', ssn) FROM app.people')",
            "SELECT * FROM ts_stat('SELECT to_tsvector(''simple'', ssn) FROM people')",
        ),
        (
            "currency of time zones",
            "SET timezone = 'Pacific/Kiritimati'",
            "SELECT seen, visited, born FROM people",
            "SET timezone = 'UTC+167'",
            "SELECT seen FROM people",
        ),
        ("float digits", "SET extra_float_digits = 3", "SELECT ratio, score FROM people"),
        ("bytea output", "SET bytea_output = 'escape'", "SELECT blob FROM people"),
        ("pg_column_size", "SELECT pg_column_size(ssn), octet_length(name), pg_column_compression(ssn) FROM people"),
    ),
)
