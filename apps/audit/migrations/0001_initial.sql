-- The record (docs/audit-format.md). Runs as jitportal_owner; the two runtime roles may only add to it and read it.

DO $$
DECLARE
  missing text := (
    SELECT string_agg(wanted, ', ') FROM unnest(ARRAY['jitportal_owner', 'jitportal_web', 'jitportal_worker']) wanted
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted));
BEGIN
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'The database roles % do not exist. Create them before you migrate: docs/operate.md.', missing;
  ELSIF current_user <> 'jitportal_owner' THEN
    RAISE EXCEPTION 'Migrations run as jitportal_owner, not as %: use `migrate --database owner`.', current_user;
  END IF;
END $$;

CREATE SCHEMA audit;

CREATE TABLE audit.entry (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  body bytea NOT NULL CONSTRAINT entry_body_at_most_64_kib CHECK (octet_length(body) <= 65536)
);

CREATE TABLE audit.seal (
  index bigint PRIMARY KEY,
  entry_id bigint NOT NULL UNIQUE,  -- no foreign key: its check would take time while the head is locked
  recorded_at timestamptz NOT NULL,
  recorded_by text NOT NULL,
  hash bytea NOT NULL,
  -- Read out of the body so that entries can be found. Not hashed: the verifier compares them with the body.
  action text COLLATE "C" NOT NULL CONSTRAINT seal_action_has_a_length CHECK (octet_length(action) BETWEEN 1 AND 200),
  actor text COLLATE "C" NOT NULL CONSTRAINT seal_actor_has_a_length CHECK (octet_length(actor) BETWEEN 1 AND 200),
  subject text COLLATE "C" NOT NULL CONSTRAINT seal_subject_has_a_length CHECK (octet_length(subject) BETWEEN 1 AND 200)
);
CREATE INDEX seal_by_action ON audit.seal (action, index);
CREATE INDEX seal_by_actor ON audit.seal (actor, index);
CREATE INDEX seal_by_subject ON audit.seal (subject, index);
CREATE INDEX seal_by_time ON audit.seal (recorded_at, index);

CREATE TABLE audit.head (
  one boolean PRIMARY KEY DEFAULT true CONSTRAINT head_is_one_row CHECK (one),
  size bigint NOT NULL,
  hash bytea NOT NULL,
  recorded_at timestamptz NOT NULL
) WITH (fillfactor = 10);  -- every entry updates this row: room for new versions on its page
INSERT INTO audit.head (size, hash, recorded_at) VALUES (0, decode(repeat('00', 32), 'hex'), clock_timestamp());

CREATE TABLE audit.disclosure (
  entry_id bigint NOT NULL REFERENCES audit.entry,
  field text NOT NULL CONSTRAINT disclosure_field_has_a_length CHECK (octet_length(field) BETWEEN 1 AND 200),
  salt bytea NOT NULL CONSTRAINT disclosure_salt_of_32_bytes CHECK (octet_length(salt) = 32),
  value text NOT NULL CONSTRAINT disclosure_value_at_most_1_mib CHECK (octet_length(value) <= 1048576),
  PRIMARY KEY (entry_id, field)
);

-- Who has read the record in which hour: the unique key that makes record.read once per reader and hour.
CREATE TABLE audit.reading (
  reader text NOT NULL CONSTRAINT reading_reader_has_a_length CHECK (octet_length(reader) BETWEEN 1 AND 200),
  hour timestamptz NOT NULL,
  PRIMARY KEY (reader, hour)
);

-- Sealing: last of all in a transaction, so that the head row is locked for the length of a commit only (W2).
-- Byte literals are written with decode(), because a session may change how backslashes are read.
CREATE FUNCTION audit.seal_entry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  content jsonb;
  front audit.head;
  sealed_at timestamptz;
  sealed_hash bytea;
BEGIN
  IF TG_RELID <> 'audit.entry'::regclass OR TG_OP <> 'INSERT' OR TG_WHEN <> 'AFTER' OR TG_LEVEL <> 'ROW' THEN
    RAISE EXCEPTION 'audit.seal_entry() seals rows of audit.entry and nothing else.' USING ERRCODE = '42501';
  END IF;
  content := convert_from(NEW.body, 'UTF8')::jsonb;
  IF content -> 'disclosed' <> '{}'
     AND (SELECT count(*) FROM jsonb_object_keys(content -> 'disclosed'))
     <> (SELECT count(*) FROM audit.disclosure WHERE entry_id = NEW.id) THEN
    RAISE EXCEPTION 'An entry commits to a text that was not written beside it.' USING ERRCODE = '23514';
  END IF;

  SELECT * INTO STRICT front FROM audit.head FOR NO KEY UPDATE;
  sealed_at := greatest(clock_timestamp(), front.recorded_at);
  sealed_hash := sha256(decode('01', 'hex') || front.hash || sha256(
    decode('00', 'hex') || int8send(front.size) || int8send((extract(epoch FROM sealed_at) * 1000000)::bigint)
    || convert_to(session_user::text, 'UTF8') || decode('00', 'hex') || NEW.body));
  INSERT INTO audit.seal (index, entry_id, recorded_at, recorded_by, hash, action, actor, subject)
    VALUES (front.size, NEW.id, sealed_at, session_user, sealed_hash,
            content ->> 'action', content ->> 'actor', content ->> 'subject');
  UPDATE audit.head SET size = front.size + 1, hash = sealed_hash, recorded_at = sealed_at;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER seal_entry AFTER INSERT ON audit.entry
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit.seal_entry();

-- A text is written beside its entry, in its transaction, and is the one that the body commits to.
CREATE FUNCTION audit.check_disclosure() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  committed text := (
    SELECT convert_from(e.body, 'UTF8')::jsonb -> 'disclosed' -> NEW.field ->> 'commit' FROM audit.entry e
    WHERE e.id = NEW.entry_id AND NOT EXISTS (SELECT FROM audit.seal s WHERE s.entry_id = e.id));
BEGIN
  IF TG_RELID <> 'audit.disclosure'::regclass THEN
    RAISE EXCEPTION 'audit.check_disclosure() guards audit.disclosure and nothing else.' USING ERRCODE = '42501';
  ELSIF encode(sha256(NEW.salt || convert_to(NEW.value, 'UTF8')), 'hex') IS DISTINCT FROM committed THEN
    RAISE EXCEPTION 'No entry of this transaction commits to this text.' USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER check_disclosure BEFORE INSERT ON audit.disclosure
  FOR EACH ROW EXECUTE FUNCTION audit.check_disclosure();

-- The runtime roles have no right to change anything; this stops the owner's accidents.
CREATE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'The record only grows: % of %.% is refused.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = '42501';
END $$;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.entry EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.seal EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.disclosure EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON audit.head EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_step_back BEFORE UPDATE ON audit.head FOR EACH ROW
  WHEN (NEW.size <> OLD.size + 1 OR NEW.recorded_at < OLD.recorded_at) EXECUTE FUNCTION audit.refuse_change();

ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER seal_entry;
ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.seal ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.disclosure ENABLE ALWAYS TRIGGER check_disclosure;
ALTER TABLE audit.disclosure ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.head ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.head ENABLE ALWAYS TRIGGER refuse_step_back;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO jitportal_web, jitportal_worker;
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO jitportal_web, jitportal_worker;
GRANT INSERT (body) ON audit.entry TO jitportal_web, jitportal_worker;
GRANT INSERT (entry_id, field, salt, value) ON audit.disclosure TO jitportal_web, jitportal_worker;
GRANT INSERT (reader, hour) ON audit.reading TO jitportal_web, jitportal_worker;
