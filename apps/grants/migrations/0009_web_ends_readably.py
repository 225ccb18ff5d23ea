"""What the web process says of an end is what its verbs say: nothing that keeps clock and workers from reading on.

An infinite time cannot be read by them, and the greatest number of tries cannot be counted on from: one such row would
have kept all ends from happening.
"""

from django.db import migrations

FUNCTION = """
CREATE OR REPLACE FUNCTION grants_grant_check_web() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF current_user = 'jitportal_web' AND (
    OLD.status IN ('queued', 'active') AND NEW.status = 'ending'
    AND NEW.next_try_at <= clock_timestamp() AND NEW.ending_since <= clock_timestamp()
    {more}
  ) IS NOT TRUE THEN
    RAISE EXCEPTION 'grants_grant: the web process may only let access end, from now'
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
"""
# An hour: a verb may have waited for a lock since it looked at the clock.
MORE = """
    AND NEW.next_try_at > clock_timestamp() - interval '1 hour'
    AND NEW.ending_since > clock_timestamp() - interval '1 hour'
    AND NEW.tries = 0 AND NEW.problem = ''
    AND NEW.end_cause IN ('released', 'revoked') AND length(NEW.end_reason) <= 2000
"""


class Migration(migrations.Migration):
    dependencies = [("grants", "0008_heartbeat_queues")]

    operations = [migrations.RunSQL(FUNCTION.replace("{more}", MORE), FUNCTION.replace("{more}", ""))]
