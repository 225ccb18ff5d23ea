-- Ends one session if it is the very one that was seen, and still in the way; waits a little until it is gone.
SELECT pg_terminate_backend(a.pid, 500) FROM pg_stat_activity a
WHERE a.pid = %(pid)s AND a.usesysid = %(role)s AND a.backend_start = %(backend_start)s
  AND (%(xact_start)s::timestamptz IS NULL OR a.xact_start = %(xact_start)s)
  AND (%(state_change)s::timestamptz IS NULL OR a.state_change = %(state_change)s)
  AND (%(waiter)s::int IS NULL OR a.pid = ANY (pg_blocking_pids(%(waiter)s)))
