-- Prepared transactions of this portal's logins: since when, and for how long somebody else has waited for one of their
-- locks. Such a lock has no pid; those of one transaction share a virtual one, and one of them names its number.
WITH ours AS MATERIALIZED (
  SELECT d.objoid AS role, substr(split_part(d.description, ' ', 3), 7) AS login FROM pg_shdescription d
  WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, %(mark)s)
),
mine AS MATERIALIZED (
  SELECT o.login, o.role, r.rolname::text AS name, x.gid, x.database::text, x.prepared, x.transaction
  FROM pg_prepared_xacts x JOIN pg_roles r ON r.rolname = x.owner JOIN ours o ON o.role = r.oid
),
locks AS MATERIALIZED (SELECT * FROM pg_locks WHERE EXISTS (SELECT FROM mine))
SELECT m.login, m.name, m.gid, m.database, m.prepared, floor(extract(epoch FROM clock_timestamp() - m.prepared))::int AS age,
       (
         SELECT floor(extract(epoch FROM clock_timestamp() - min(waits.waitstart)))::int
         FROM locks own
         JOIN locks held ON held.pid IS NULL AND held.granted AND held.virtualtransaction = own.virtualtransaction
         JOIN locks waits ON NOT waits.granted
           AND (waits.locktype, waits.database, waits.relation, waits.page, waits.tuple, waits.transactionid,
                waits.classid, waits.objid, waits.objsubid)
               IS NOT DISTINCT FROM (held.locktype, held.database, held.relation, held.page, held.tuple,
                                     held.transactionid, held.classid, held.objid, held.objsubid)
         JOIN pg_stat_activity other ON other.pid = waits.pid AND other.usesysid IS DISTINCT FROM m.role
         WHERE own.pid IS NULL AND own.locktype = 'transactionid' AND own.transactionid = m.transaction
           AND 0 = ANY (pg_blocking_pids(waits.pid))
       ) AS blocks
FROM mine m
ORDER BY m.login, m.prepared
