CREATE TYPE "public"."dead_letter_reason" AS ENUM('not_json', 'unknown_type', 'unsupported_version', 'schema_violation', 'rejected', 'exhausted', 'crashed');--> statement-breakpoint
CREATE TYPE "public"."dead_letter_state" AS ENUM('open', 'replayed', 'discarded');--> statement-breakpoint
CREATE TYPE "public"."dlq_replay_state" AS ENUM('running', 'completed', 'cancelled');--> statement-breakpoint
CREATE TYPE "public"."notification_audience" AS ENUM('user', 'operators');--> statement-breakpoint
CREATE TYPE "public"."notification_severity" AS ENUM('info', 'warning', 'error');--> statement-breakpoint
CREATE TYPE "public"."notification_type" AS ENUM('low_balance_warning', 'balance_depleted', 'info');--> statement-breakpoint
ALTER TYPE "public"."operation_kind" ADD VALUE 'dlq_replay.create';--> statement-breakpoint
ALTER TYPE "public"."operation_kind" ADD VALUE 'dlq_replay.cancel';--> statement-breakpoint
CREATE TABLE "consumed_events" (
	"consumer" text NOT NULL,
	"event_id" uuid NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "consumed_events_consumer_event_id_pk" PRIMARY KEY("consumer","event_id")
);
--> statement-breakpoint
CREATE TABLE "event_log" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "event_log_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"event_id" uuid NOT NULL,
	"subject" text NOT NULL,
	"version" text NOT NULL,
	"correlation_id" text NOT NULL,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"payload" jsonb NOT NULL,
	"stream" text NOT NULL,
	"stream_seq" bigint NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "event_log_event_id_unique" UNIQUE("event_id")
);
--> statement-breakpoint
CREATE TABLE "dead_letters" (
	"id" uuid PRIMARY KEY NOT NULL,
	"seq" bigint GENERATED ALWAYS AS IDENTITY (sequence name "dead_letters_seq_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"consumer" text NOT NULL,
	"consumer_group" text NOT NULL,
	"message_key" text NOT NULL,
	"subject" text NOT NULL,
	"event_id" uuid,
	"correlation_id" text,
	"reason" "dead_letter_reason" NOT NULL,
	"error_code" text,
	"detail" text,
	"body" "bytea" NOT NULL,
	"stream" text NOT NULL,
	"stream_seq" bigint NOT NULL,
	"deliveries" integer NOT NULL,
	"first_at" timestamp (3) with time zone NOT NULL,
	"last_at" timestamp (3) with time zone NOT NULL,
	"state" "dead_letter_state" NOT NULL,
	"arrivals" integer DEFAULT 1 NOT NULL,
	"replays" integer DEFAULT 0 NOT NULL,
	"history" jsonb NOT NULL,
	"dlq_seq" bigint NOT NULL,
	"discard_reason" text,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "dead_letters_seq_unique" UNIQUE("seq"),
	CONSTRAINT "dead_letters_message" UNIQUE("consumer","message_key")
);
--> statement-breakpoint
CREATE TABLE "dlq_replays" (
	"id" uuid PRIMARY KEY NOT NULL,
	"state" "dlq_replay_state" NOT NULL,
	"version" integer NOT NULL,
	"filter" jsonb NOT NULL,
	"dry_run" boolean NOT NULL,
	"through_seq" bigint NOT NULL,
	"after_seq" bigint NOT NULL,
	"matched" integer NOT NULL,
	"replayed" integer NOT NULL,
	"skipped" integer NOT NULL,
	"requested_by" uuid NOT NULL,
	"requested_role" text NOT NULL,
	"reason" text NOT NULL,
	"create_operation_id" uuid NOT NULL,
	"correlation_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"state_since" timestamp (3) with time zone NOT NULL,
	"finished_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "notification_cursors" (
	"recipient" uuid PRIMARY KEY NOT NULL,
	"last_seq" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "notification_reads" (
	"user_id" uuid NOT NULL,
	"notification_id" uuid NOT NULL,
	"read_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "notification_reads_user_id_notification_id_pk" PRIMARY KEY("user_id","notification_id")
);
--> statement-breakpoint
CREATE TABLE "notifications" (
	"id" uuid PRIMARY KEY NOT NULL,
	"audience" "notification_audience" NOT NULL,
	"recipient" uuid NOT NULL,
	"seq" bigint NOT NULL,
	"event_id" uuid NOT NULL,
	"subject" text NOT NULL,
	"severity" "notification_severity" NOT NULL,
	"type" "notification_type" NOT NULL,
	"title" text NOT NULL,
	"message" text NOT NULL,
	"action_url" text,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "notifications_recipient_seq" UNIQUE("recipient","seq")
);
--> statement-breakpoint
CREATE TABLE "metered_allocations" (
	"allocation_id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"project_id" uuid,
	"node_id" uuid,
	"started_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	"ended_by" text,
	"recorded_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "metered_allocations_end" CHECK (("metered_allocations"."ended_at" is null) = ("metered_allocations"."ended_by" is null))
);
--> statement-breakpoint
ALTER TABLE "notification_reads" ADD CONSTRAINT "notification_reads_notification_id_notifications_id_fk" FOREIGN KEY ("notification_id") REFERENCES "public"."notifications"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "consumed_events_at" ON "consumed_events" USING btree ("at");--> statement-breakpoint
CREATE INDEX "event_log_subject" ON "event_log" USING btree ("subject","id");--> statement-breakpoint
CREATE INDEX "event_log_correlation_id" ON "event_log" USING btree ("correlation_id");--> statement-breakpoint
CREATE INDEX "event_log_received_at" ON "event_log" USING btree ("received_at");--> statement-breakpoint
CREATE INDEX "dead_letters_state" ON "dead_letters" USING btree ("state","seq");--> statement-breakpoint
CREATE INDEX "dead_letters_open" ON "dead_letters" USING btree ("subject") WHERE state = 'open';--> statement-breakpoint
CREATE INDEX "dlq_replays_created_at" ON "dlq_replays" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "notifications_created_at" ON "notifications" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "metered_allocations_running" ON "metered_allocations" USING btree ("started_at") WHERE ended_at is null;