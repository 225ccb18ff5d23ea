"""The web process may let access end and do nothing else to it: whoever takes it over cannot make access last."""

from django.db import migrations

FORWARDS = """
CREATE FUNCTION grants_grant_check_web() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF current_user = 'jitportal_web' AND (
    OLD.status IN ('queued', 'active') AND NEW.status = 'ending'
    AND NEW.next_try_at <= clock_timestamp() AND NEW.ending_since <= clock_timestamp()
  ) IS NOT TRUE THEN
    RAISE EXCEPTION 'grants_grant: the web process may only let access end, from now'
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER grants_grant_check_web BEFORE UPDATE ON grants_grant
  FOR EACH ROW EXECUTE FUNCTION grants_grant_check_web();
"""
BACKWARDS = "DROP TRIGGER grants_grant_check_web ON grants_grant; DROP FUNCTION grants_grant_check_web();"


class Migration(migrations.Migration):
    dependencies = [("grants", "0002_status_trigger")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
