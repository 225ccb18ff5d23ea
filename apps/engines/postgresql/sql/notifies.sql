-- Functions that notify, or call one that does, and the triggers that fire them: what is sent is read by whoever
-- listens, whatever it may read otherwise (field notes S6). By their text, which is all that can be known of them.
WITH RECURSIVE
own AS MATERIALIZED (
  SELECT p.oid, p.proname, lower(p.prosrc) AS source, coalesce(p.prosqlbody::text, '') AS body, l.lanname, p.prosrc AS symbol
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
),
notifying(oid, proname) AS (
  SELECT oid, proname FROM own
  WHERE (lanname NOT IN ('c', 'internal') AND (source ~ '\m(pg_notify|notify)\M' OR body ~ format(
           ':funcid %%s ', (SELECT oid FROM pg_proc WHERE proname = 'pg_notify' AND pronamespace = 'pg_catalog'::regnamespace))))
     -- The one function in C that is known to (the extension tcn), and pg_notify by another name.
     OR symbol IN ('triggered_change_notification', 'pg_notify')
  UNION
  SELECT o.oid, o.proname FROM notifying n
  JOIN own o ON o.oid <> n.oid AND o.lanname NOT IN ('c', 'internal')
            AND (strpos(o.source, lower(n.proname) || '(') > 0 OR o.body ~ format(':funcid %%s ', n.oid))
),
-- Once: reached by two ways, it would be found twice.
found AS (SELECT DISTINCT oid FROM notifying)
SELECT f.oid::regprocedure::text AS name,
       ARRAY(SELECT format('%%I.%%I (%%I)', n.nspname, c.relname, t.tgname)
             FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE t.tgfoid = f.oid AND NOT t.tgisinternal ORDER BY 1) AS triggers
FROM found f ORDER BY 1
