-- The entries of one transaction are sealed together, by the first of them that comes to it: the head is locked, read
-- and moved on once, and what needs no lock is done before (decision 0003).
CREATE OR REPLACE FUNCTION audit.seal_entry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
  bodies bytea[];
  contents jsonb[];
  are_whole boolean;
  front audit.head;
BEGIN
  IF TG_RELID <> 'audit.entry'::regclass OR TG_OP <> 'INSERT' OR TG_WHEN <> 'AFTER' OR TG_LEVEL <> 'ROW' THEN
    RAISE EXCEPTION 'audit.seal_entry() seals rows of audit.entry and nothing else.' USING ERRCODE = '42501';
  ELSIF EXISTS (SELECT FROM audit.seal WHERE entry_id = NEW.id) THEN
    RETURN NULL;
  END IF;

  -- What others have committed is sealed and what they have not is not to be seen, so these are ours.
  SELECT array_agg(e.id ORDER BY e.id), array_agg(e.body ORDER BY e.id), array_agg(e.content ORDER BY e.id),
         bool_and(e.content -> 'disclosed' = '{}'
           OR (SELECT count(*) FROM jsonb_object_keys(e.content -> 'disclosed'))
            = (SELECT count(*) FROM audit.disclosure d WHERE d.entry_id = e.id))
    INTO ids, bodies, contents, are_whole
    FROM (SELECT id, body, convert_from(body, 'UTF8')::jsonb AS content FROM audit.entry WHERE id >= NEW.id) e
    WHERE NOT EXISTS (SELECT FROM audit.seal s WHERE s.entry_id = e.id);
  IF are_whole IS NOT TRUE THEN
    RAISE EXCEPTION 'An entry commits to a text that was not written beside it.' USING ERRCODE = '23514';
  END IF;

  SELECT * INTO STRICT front FROM audit.head FOR NO KEY UPDATE;
  FOR n IN 1 .. array_length(ids, 1) LOOP
    front.recorded_at := greatest(clock_timestamp(), front.recorded_at);
    front.hash := sha256(decode('01', 'hex') || front.hash || sha256(
      decode('00', 'hex') || int8send(front.size) || int8send((extract(epoch FROM front.recorded_at) * 1000000)::bigint)
      || convert_to(session_user::text, 'UTF8') || decode('00', 'hex') || bodies[n]));
    INSERT INTO audit.seal (index, entry_id, recorded_at, recorded_by, hash, action, actor, subject)
      VALUES (front.size, ids[n], front.recorded_at, session_user, front.hash,
              contents[n] ->> 'action', contents[n] ->> 'actor', contents[n] ->> 'subject');
    front.size := front.size + 1;
  END LOOP;
  UPDATE audit.head SET size = front.size, hash = front.hash, recorded_at = front.recorded_at;
  RETURN NULL;
END $$;

DROP TRIGGER refuse_step_back ON audit.head;
CREATE TRIGGER refuse_step_back BEFORE UPDATE ON audit.head FOR EACH ROW
  WHEN (NEW.size <= OLD.size OR NEW.recorded_at < OLD.recorded_at) EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.head ENABLE ALWAYS TRIGGER refuse_step_back;

-- Texts are compared with what their entries commit to, all of a statement at once.
CREATE OR REPLACE FUNCTION audit.check_disclosure() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_RELID <> 'audit.disclosure'::regclass OR TG_OP <> 'INSERT' OR TG_WHEN <> 'AFTER' OR TG_LEVEL <> 'STATEMENT' THEN
    RAISE EXCEPTION 'audit.check_disclosure() guards audit.disclosure and nothing else.' USING ERRCODE = '42501';
  ELSIF EXISTS (
    SELECT FROM added a
    LEFT JOIN audit.entry e ON e.id = a.entry_id AND NOT EXISTS (SELECT FROM audit.seal s WHERE s.entry_id = e.id)
    WHERE encode(sha256(a.salt || convert_to(a.value, 'UTF8')), 'hex')
      IS DISTINCT FROM convert_from(e.body, 'UTF8')::jsonb -> 'disclosed' -> a.field ->> 'commit') THEN
    RAISE EXCEPTION 'No entry of this transaction commits to this text.' USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;

DROP TRIGGER check_disclosure ON audit.disclosure;
CREATE TRIGGER check_disclosure AFTER INSERT ON audit.disclosure REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION audit.check_disclosure();
ALTER TABLE audit.disclosure ENABLE ALWAYS TRIGGER check_disclosure;
