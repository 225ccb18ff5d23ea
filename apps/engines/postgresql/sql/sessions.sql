-- Live sessions of this portal's logins, by their comments: "jitportal portal=… login=… request=…". What a session does is
-- shown to nobody but who may end it: the manager before 16, from then on the login's maker alone.
WITH ours AS MATERIALIZED (
  SELECT d.objoid AS role, substr(split_part(d.description, ' ', 3), 7) AS login FROM pg_shdescription d
  WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, %(mark)s)
)
SELECT o.login, o.role, a.pid, a.backend_start, a.leader_pid IS NOT NULL AS helps, a.xact_start, a.state_change,
       CASE WHEN a.state IN ('idle in transaction', 'idle in transaction (aborted)')
            THEN floor(extract(epoch FROM clock_timestamp() - a.state_change))::int END AS idles,
       -- A transaction that has written, or looks at rows as they were, keeps vacuum from what was deleted since.
       CASE WHEN a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL
            THEN floor(extract(epoch FROM clock_timestamp() - a.xact_start))::int END AS holds_back
FROM pg_stat_activity a JOIN ours o ON o.role = a.usesysid
ORDER BY o.login, a.pid
