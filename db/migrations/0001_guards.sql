-- Clock, append-only guards and grants. The roles gpuaas_app and gpuaas_test are made by whoever owns the cluster.
CREATE FUNCTION gpuaas_now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT date_trunc('milliseconds', clock_timestamp()) + coalesce((SELECT clock_offset FROM clock_offset), interval '0') $$;
--> statement-breakpoint
CREATE FUNCTION gpuaas_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END $$;
--> statement-breakpoint
CREATE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_logs
FOR EACH STATEMENT EXECUTE FUNCTION gpuaas_append_only();
--> statement-breakpoint
CREATE TRIGGER timeline_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON timeline
FOR EACH STATEMENT EXECUTE FUNCTION gpuaas_append_only();
--> statement-breakpoint
CREATE SEQUENCE posix_ids AS integer MINVALUE 10000 MAXVALUE 199999 START 10000 NO CYCLE;
--> statement-breakpoint
INSERT INTO outbox_partitions (partition) SELECT generate_series(0, 7);
--> statement-breakpoint
INSERT INTO clock_offset (singleton, clock_offset) VALUES (true, interval '0');
--> statement-breakpoint
GRANT USAGE ON SCHEMA public TO gpuaas_app, gpuaas_test;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON orgs, users, posix_identities, projects, project_members, ssh_keys, skus, nodes,
  placements, node_tasks, allocations, operations, idempotency_records, outbox, policy_values TO gpuaas_app;
--> statement-breakpoint
GRANT SELECT, UPDATE ON outbox_partitions TO gpuaas_app;
--> statement-breakpoint
GRANT SELECT, INSERT ON audit_logs, timeline TO gpuaas_app;
--> statement-breakpoint
GRANT SELECT ON clock_offset TO gpuaas_app;
--> statement-breakpoint
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO gpuaas_app;
--> statement-breakpoint
GRANT SELECT ON ALL TABLES IN SCHEMA public TO gpuaas_test;
--> statement-breakpoint
GRANT UPDATE ON clock_offset TO gpuaas_test;
