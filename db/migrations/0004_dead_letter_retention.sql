-- A dead letter that was dealt with may be aged out; one that is open is the only copy of what its consumer owes.
CREATE FUNCTION gpuaas_keep_open_letters() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'an open dead letter is not deleted' USING ERRCODE = 'insufficient_privilege'; END $$;
--> statement-breakpoint
CREATE TRIGGER dead_letters_keep_open BEFORE DELETE ON dead_letters
FOR EACH ROW WHEN (OLD.state = 'open') EXECUTE FUNCTION gpuaas_keep_open_letters();
--> statement-breakpoint
CREATE TRIGGER dead_letters_no_truncate BEFORE TRUNCATE ON dead_letters
FOR EACH STATEMENT EXECUTE FUNCTION gpuaas_keep_open_letters();
--> statement-breakpoint
GRANT DELETE ON dead_letters TO gpuaas_app;
