-- Sessions of these roles for which somebody else has waited for at least so long, and the one who has waited longest.
-- Locks, waits and whose sessions they are is shown to every role. Holders come before those who wait themselves: when they
-- are gone, the others may be in nobody's way any more.
WITH waiting AS MATERIALIZED (
  SELECT pid, min(waitstart) AS since FROM pg_locks WHERE NOT granted AND pid IS NOT NULL GROUP BY pid
),
-- It stops all who take locks for a moment, so it is asked only for those who have waited too long.
blocked AS MATERIALIZED (
  SELECT pid AS waiter, since, unnest(pg_blocking_pids(pid)) AS pid FROM waiting
  WHERE since <= clock_timestamp() - make_interval(secs => %(seconds)s)
)
SELECT pid, waiter, seconds FROM (
  SELECT DISTINCT ON (a.pid) a.pid, b.waiter, floor(extract(epoch FROM clock_timestamp() - b.since))::int AS seconds,
         EXISTS (SELECT FROM waiting w WHERE w.pid = a.pid) AS waits
  FROM blocked b JOIN pg_stat_activity a ON a.pid = b.pid JOIN pg_stat_activity other ON other.pid = b.waiter
  WHERE a.usesysid = ANY (%(roles)s::oid[]) AND other.usesysid IS DISTINCT FROM a.usesysid
  ORDER BY a.pid, b.since
) AS found
ORDER BY waits, seconds DESC
