-- Texts beside the record can be deleted by its owner, through one function and only together with an entry that tells
-- of it; entries and seals cannot.
CREATE FUNCTION audit.erase(told_in bigint, entry_ids bigint[], fields text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  told jsonb := (
    SELECT convert_from(e.body, 'UTF8')::jsonb FROM audit.entry e
    WHERE e.id = told_in AND NOT EXISTS (SELECT FROM audit.seal s WHERE s.entry_id = e.id));
  gone bigint;
BEGIN
  IF told ->> 'action' IS DISTINCT FROM 'person.erased' THEN
    RAISE EXCEPTION 'Texts are erased together with an entry of the same transaction that tells of it.'
      USING ERRCODE = '42501';
  END IF;
  PERFORM set_config('audit.erasing', told_in::text, true);
  DELETE FROM audit.disclosure d USING unnest(entry_ids, fields) AS wanted (entry_id, field)
    WHERE d.entry_id = wanted.entry_id AND d.field = wanted.field;
  GET DIAGNOSTICS gone = ROW_COUNT;
  PERFORM set_config('audit.erasing', '', true);
  IF gone <> (told -> 'facts' ->> 'texts')::bigint THEN
    RAISE EXCEPTION '% texts are gone and % were told of: nothing is erased.', gone, told -> 'facts' ->> 'texts'
      USING ERRCODE = '23514';
  END IF;
END $$;
REVOKE ALL ON FUNCTION audit.erase(bigint, bigint[], text[]) FROM PUBLIC;

CREATE FUNCTION audit.refuse_unless_erasing() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF coalesce(current_setting('audit.erasing', true), '') = '' THEN
    RAISE EXCEPTION 'The record only grows: % of %.% is refused.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
      USING ERRCODE = '42501';
  END IF;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION audit.refuse_unless_erasing() FROM PUBLIC;

DROP TRIGGER refuse_change ON audit.disclosure;
CREATE TRIGGER refuse_change BEFORE UPDATE OR TRUNCATE ON audit.disclosure EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_deletion BEFORE DELETE ON audit.disclosure EXECUTE FUNCTION audit.refuse_unless_erasing();
ALTER TABLE audit.disclosure ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.disclosure ENABLE ALWAYS TRIGGER refuse_deletion;
