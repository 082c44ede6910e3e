-- One statement has one instant, however often it asks.
CREATE OR REPLACE FUNCTION gpuaas_now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT date_trunc('milliseconds', statement_timestamp()) + coalesce((SELECT clock_offset FROM clock_offset), interval '0') $$;
--> statement-breakpoint
-- The log and the notifications are written once and aged out, never rewritten.
GRANT SELECT, INSERT, DELETE ON consumed_events, event_log, notifications TO gpuaas_app;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON notification_cursors, notification_reads TO gpuaas_app;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON dead_letters, dlq_replays, metered_allocations TO gpuaas_app;
--> statement-breakpoint
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO gpuaas_app;
--> statement-breakpoint
GRANT SELECT ON consumed_events, event_log, notifications, notification_cursors, notification_reads, dead_letters,
  dlq_replays, metered_allocations TO gpuaas_test;
