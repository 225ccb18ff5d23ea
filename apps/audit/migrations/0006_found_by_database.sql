-- Entries can be found by the database that they are about (decision 0017). Like action, actor and subject the column is
-- a copy out of bodies and is not hashed; verification says where it is another than it should be.

-- What a body itself names: '*' stands for several. apps/audit/checks.py says the same.
CREATE FUNCTION audit.database_named(content jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT name FROM (SELECT CASE
  WHEN starts_with(content ->> 'subject', 'database:') THEN substr(content ->> 'subject', 10)
  WHEN jsonb_typeof(content #> '{facts,database}') = 'string' THEN content #>> '{facts,database}'
  WHEN jsonb_typeof(content #> '{facts,databases}') = 'array' THEN
    CASE WHEN jsonb_array_length(content #> '{facts,databases}') > 1 THEN '*'
         WHEN jsonb_typeof(content #> '{facts,databases,0}') = 'string' THEN content #>> '{facts,databases,0}' END
  END) named (name) WHERE octet_length(name) BETWEEN 1 AND 200);
REVOKE ALL ON FUNCTION audit.database_named(jsonb) FROM PUBLIC;

ALTER TABLE audit.seal ADD COLUMN database text COLLATE "C"
  CONSTRAINT seal_database_has_a_length CHECK (octet_length(database) BETWEEN 1 AND 200);

-- What is there already. A body that nobody can read names nothing: it is a finding anyway.
CREATE FUNCTION audit.database_read(body bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN audit.database_named(convert_from(body, 'UTF8')::jsonb);
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$;
ALTER TABLE audit.seal DISABLE TRIGGER refuse_change;
UPDATE audit.seal s SET database = read.name
  FROM (SELECT id, audit.database_read(body) AS name FROM audit.entry) read
  WHERE read.id = s.entry_id AND read.name IS NOT NULL;
UPDATE audit.seal s SET database = first.database
  FROM (SELECT DISTINCT ON (subject) subject, database FROM audit.seal
        WHERE starts_with(subject, 'request:') OR starts_with(subject, 'grant:') ORDER BY subject, index) first
  WHERE first.subject = s.subject AND first.database IS NOT NULL AND s.database IS NULL;
ALTER TABLE audit.seal ENABLE ALWAYS TRIGGER refuse_change;
DROP FUNCTION audit.database_read(bytea);

-- Pages go along an index, whatever is looked for: by actor, action and database, alone and together.
DROP INDEX audit.seal_by_actor, audit.seal_by_subject;
-- Nearly all subjects have few entries; of those that have many, the record itself, all is seen without the table.
CREATE INDEX seal_by_subject ON audit.seal (subject, index) INCLUDE (actor, action, database);
CREATE INDEX seal_by_actor ON audit.seal (actor, action, index);
CREATE INDEX seal_by_database ON audit.seal (database, action, index) WHERE database IS NOT NULL;
CREATE INDEX seal_by_actor_and_database ON audit.seal (actor, database, action, index) WHERE database IS NOT NULL;

-- As before, and with the database: where a body about a request or a grant names none, the one of the first entry
-- about it.
CREATE OR REPLACE FUNCTION audit.seal_entry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
  bodies bytea[];
  contents jsonb[];
  are_whole boolean;
  front audit.head;
  named text;
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
    named := audit.database_named(contents[n]);
    IF named IS NULL
       AND (starts_with(contents[n] ->> 'subject', 'request:') OR starts_with(contents[n] ->> 'subject', 'grant:')) THEN
      named := (SELECT s.database FROM audit.seal s WHERE s.subject = contents[n] ->> 'subject' ORDER BY s.index LIMIT 1);
    END IF;
    INSERT INTO audit.seal (index, entry_id, recorded_at, recorded_by, hash, action, actor, subject, database)
      VALUES (front.size, ids[n], front.recorded_at, session_user, front.hash,
              contents[n] ->> 'action', contents[n] ->> 'actor', contents[n] ->> 'subject', named);
    front.size := front.size + 1;
  END LOOP;
  UPDATE audit.head SET size = front.size, hash = front.hash, recorded_at = front.recorded_at;
  RETURN NULL;
END $$;
