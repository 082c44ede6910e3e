CREATE TYPE "public"."allocation_state" AS ENUM('requested', 'provisioning', 'active', 'releasing', 'released', 'failed', 'release_failed');--> statement-breakpoint
CREATE TYPE "public"."scheduler_type" AS ENUM('bare_metal', 'slurm', 'k8s', 'ray');--> statement-breakpoint
CREATE TYPE "public"."unblocker" AS ENUM('nobody', 'user', 'admin', 'node', 'platform');--> statement-breakpoint
CREATE TYPE "public"."project_role" AS ENUM('owner', 'member');--> statement-breakpoint
CREATE TYPE "public"."node_state" AS ENUM('enrolling', 'available', 'draining', 'quarantined', 'offline', 'retired');--> statement-breakpoint
CREATE TYPE "public"."node_task_kind" AS ENUM('node.allocation_prepare', 'node.allocation_cleanup', 'node.gpu_scrub', 'node.storage_cleanup', 'node.validate_clean');--> statement-breakpoint
CREATE TYPE "public"."node_task_state" AS ENUM('queued', 'offered', 'succeeded', 'failed', 'cancelled', 'superseded');--> statement-breakpoint
CREATE TYPE "public"."operation_kind" AS ENUM('allocation.create', 'allocation.release', 'allocation.force_release');--> statement-breakpoint
CREATE TYPE "public"."operation_state" AS ENUM('open', 'accepted', 'refused');--> statement-breakpoint
CREATE TABLE "allocations" (
	"id" uuid PRIMARY KEY NOT NULL,
	"org_id" uuid NOT NULL,
	"project_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"sku" text NOT NULL,
	"scheduler_type" "scheduler_type" NOT NULL,
	"state" "allocation_state" NOT NULL,
	"version" integer NOT NULL,
	"node_id" uuid NOT NULL,
	"create_operation_id" uuid NOT NULL,
	"correlation_id" text NOT NULL,
	"waiting_on" text,
	"deadline" timestamp (3) with time zone,
	"who_can_unblock" "unblocker" NOT NULL,
	"failure_reason" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"state_since" timestamp (3) with time zone NOT NULL,
	"active_at" timestamp (3) with time zone,
	"release_requested_at" timestamp (3) with time zone,
	"stopped_at" timestamp (3) with time zone,
	"released_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "orgs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"personal" boolean NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "posix_identities" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"username" text NOT NULL,
	"uid" integer NOT NULL,
	"gid" integer NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "posix_identities_username_unique" UNIQUE("username"),
	CONSTRAINT "posix_identities_uid_unique" UNIQUE("uid"),
	CONSTRAINT "posix_identities_gid_unique" UNIQUE("gid"),
	CONSTRAINT "posix_identities_username" CHECK ("posix_identities"."username" ~ '^[a-z_][a-z0-9_-]{0,31}$'),
	CONSTRAINT "posix_identities_uid" CHECK ("posix_identities"."uid" between 10000 and 199999),
	CONSTRAINT "posix_identities_gid" CHECK ("posix_identities"."gid" between 10000 and 199999)
);
--> statement-breakpoint
CREATE TABLE "project_members" (
	"project_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"role" "project_role" NOT NULL,
	"added_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "project_members_project_id_user_id_pk" PRIMARY KEY("project_id","user_id")
);
--> statement-breakpoint
CREATE TABLE "projects" (
	"id" uuid PRIMARY KEY NOT NULL,
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"display_name" text NOT NULL,
	"owner_user_id" uuid NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "projects_org_id_name" UNIQUE("org_id","name")
);
--> statement-breakpoint
CREATE TABLE "ssh_keys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"fingerprint" text NOT NULL,
	"public_key" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "ssh_keys_user_id_fingerprint" UNIQUE("user_id","fingerprint")
);
--> statement-breakpoint
CREATE TABLE "users" (
	"id" uuid PRIMARY KEY NOT NULL,
	"org_id" uuid NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "nodes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"sku" text NOT NULL,
	"state" "node_state" NOT NULL,
	"slot_count" integer NOT NULL,
	"ssh_host" text NOT NULL,
	"ssh_port" integer NOT NULL,
	"agent_secret_hash" "bytea" NOT NULL,
	"fence" bigint DEFAULT 0 NOT NULL,
	"last_contact_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "nodes_name_unique" UNIQUE("name"),
	CONSTRAINT "nodes_slot_count" CHECK ("nodes"."slot_count" between 1 and 1024)
);
--> statement-breakpoint
CREATE TABLE "placements" (
	"node_id" uuid NOT NULL,
	"slot" integer NOT NULL,
	"allocation_id" uuid NOT NULL,
	"taken_at" timestamp (3) with time zone NOT NULL,
	"quarantined_at" timestamp (3) with time zone,
	CONSTRAINT "placements_node_id_slot_pk" PRIMARY KEY("node_id","slot")
);
--> statement-breakpoint
CREATE TABLE "skus" (
	"code" text PRIMARY KEY NOT NULL,
	"title" text NOT NULL,
	"gpu_model" text NOT NULL,
	"gpu_count" integer NOT NULL,
	"cpu_cores" integer NOT NULL,
	"memory_gib" integer NOT NULL,
	"price_per_hour_minor" bigint NOT NULL,
	"currency" text NOT NULL,
	"offered" boolean DEFAULT true NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "skus_price" CHECK ("skus"."price_per_hour_minor" >= 0),
	CONSTRAINT "skus_currency" CHECK ("skus"."currency" ~ '^[A-Z]{3}$')
);
--> statement-breakpoint
CREATE TABLE "node_tasks" (
	"id" uuid PRIMARY KEY NOT NULL,
	"node_id" uuid NOT NULL,
	"allocation_id" uuid NOT NULL,
	"kind" "node_task_kind" NOT NULL,
	"state" "node_task_state" NOT NULL,
	"params" jsonb NOT NULL,
	"fence" bigint NOT NULL,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	"activity_id" text NOT NULL,
	"attempt" integer NOT NULL,
	"correlation_id" text NOT NULL,
	"traceparent" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"offered_at" timestamp (3) with time zone,
	"last_seen_at" timestamp (3) with time zone,
	"result" jsonb,
	"verdict" jsonb,
	"result_at" timestamp (3) with time zone,
	"completed_at" timestamp (3) with time zone,
	CONSTRAINT "node_tasks_activity" UNIQUE("workflow_id","run_id","activity_id")
);
--> statement-breakpoint
CREATE TABLE "audit_logs" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "audit_logs_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp (3) with time zone NOT NULL,
	"actor_user_id" uuid,
	"actor_role" text NOT NULL,
	"action" text NOT NULL,
	"target_type" text NOT NULL,
	"target_id" text,
	"result" text NOT NULL,
	"correlation_id" text NOT NULL,
	"details" jsonb NOT NULL,
	CONSTRAINT "audit_logs_result" CHECK ("audit_logs"."result" in ('succeeded', 'refused'))
);
--> statement-breakpoint
CREATE TABLE "clock_offset" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"clock_offset" interval NOT NULL,
	CONSTRAINT "clock_offset_singleton" CHECK ("clock_offset"."singleton")
);
--> statement-breakpoint
CREATE TABLE "idempotency_records" (
	"caller" uuid NOT NULL,
	"route" text NOT NULL,
	"key" text NOT NULL,
	"body_hash" text NOT NULL,
	"status" smallint NOT NULL,
	"response" jsonb,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "idempotency_records_caller_route_key_pk" PRIMARY KEY("caller","route","key")
);
--> statement-breakpoint
CREATE TABLE "operations" (
	"id" uuid PRIMARY KEY NOT NULL,
	"caller" uuid NOT NULL,
	"route" text NOT NULL,
	"key" text NOT NULL,
	"body_hash" text NOT NULL,
	"kind" "operation_kind" NOT NULL,
	"org_id" uuid NOT NULL,
	"entity_id" uuid NOT NULL,
	"request" jsonb NOT NULL,
	"state" "operation_state" NOT NULL,
	"outcome" jsonb,
	"response" jsonb,
	"correlation_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"decided_at" timestamp (3) with time zone,
	CONSTRAINT "operations_caller_route_key" UNIQUE("caller","route","key")
);
--> statement-breakpoint
CREATE TABLE "outbox" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "outbox_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"event_id" uuid NOT NULL,
	"subject" text NOT NULL,
	"aggregate_id" uuid NOT NULL,
	"aggregate_seq" integer NOT NULL,
	"position" smallint DEFAULT 0 NOT NULL,
	"partition" smallint NOT NULL,
	"body" jsonb NOT NULL,
	"traceparent" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"published_at" timestamp (3) with time zone,
	CONSTRAINT "outbox_event_id_unique" UNIQUE("event_id"),
	CONSTRAINT "outbox_aggregate" UNIQUE("aggregate_id","aggregate_seq","position")
);
--> statement-breakpoint
CREATE TABLE "outbox_partitions" (
	"partition" smallint PRIMARY KEY NOT NULL,
	"owner" text,
	"epoch" bigint DEFAULT 0 NOT NULL,
	"expires_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "policy_values" (
	"key" text PRIMARY KEY NOT NULL,
	"value" jsonb NOT NULL,
	"updated_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "timeline" (
	"entity_id" uuid NOT NULL,
	"seq" integer NOT NULL,
	"stem" text NOT NULL,
	"event" text NOT NULL,
	"from_state" text,
	"to_state" text NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"actor_type" text NOT NULL,
	"actor_user_id" uuid,
	"reason" text,
	"operation_id" uuid,
	"correlation_id" text NOT NULL,
	CONSTRAINT "timeline_entity_id_seq_pk" PRIMARY KEY("entity_id","seq")
);
--> statement-breakpoint
ALTER TABLE "allocations" ADD CONSTRAINT "allocations_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "allocations" ADD CONSTRAINT "allocations_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "allocations" ADD CONSTRAINT "allocations_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "allocations" ADD CONSTRAINT "allocations_sku_skus_code_fk" FOREIGN KEY ("sku") REFERENCES "public"."skus"("code") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "allocations" ADD CONSTRAINT "allocations_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "public"."nodes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "posix_identities" ADD CONSTRAINT "posix_identities_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_members" ADD CONSTRAINT "project_members_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_members" ADD CONSTRAINT "project_members_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "projects" ADD CONSTRAINT "projects_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "projects" ADD CONSTRAINT "projects_owner_user_id_users_id_fk" FOREIGN KEY ("owner_user_id") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "ssh_keys" ADD CONSTRAINT "ssh_keys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "nodes_sku_skus_code_fk" FOREIGN KEY ("sku") REFERENCES "public"."skus"("code") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "placements" ADD CONSTRAINT "placements_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "public"."nodes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "node_tasks" ADD CONSTRAINT "node_tasks_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "public"."nodes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "allocations_user_id_created_at" ON "allocations" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "allocations_project_id_created_at" ON "allocations" USING btree ("project_id","created_at");--> statement-breakpoint
CREATE INDEX "allocations_created_at" ON "allocations" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "allocations_state" ON "allocations" USING btree ("state");--> statement-breakpoint
CREATE INDEX "allocations_node_id" ON "allocations" USING btree ("node_id");--> statement-breakpoint
CREATE INDEX "project_members_user_id" ON "project_members" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "users_org_id" ON "users" USING btree ("org_id");--> statement-breakpoint
CREATE INDEX "nodes_sku_state" ON "nodes" USING btree ("sku","state");--> statement-breakpoint
CREATE INDEX "placements_allocation_id" ON "placements" USING btree ("allocation_id");--> statement-breakpoint
CREATE INDEX "node_tasks_open" ON "node_tasks" USING btree ("node_id") WHERE state in ('queued', 'offered');--> statement-breakpoint
CREATE INDEX "node_tasks_uncompleted" ON "node_tasks" USING btree ("result_at") WHERE result_at is not null and completed_at is null;--> statement-breakpoint
CREATE INDEX "node_tasks_allocation_id" ON "node_tasks" USING btree ("allocation_id","fence");--> statement-breakpoint
CREATE INDEX "audit_logs_at" ON "audit_logs" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "audit_logs_target" ON "audit_logs" USING btree ("target_type","target_id");--> statement-breakpoint
CREATE INDEX "audit_logs_actor" ON "audit_logs" USING btree ("actor_user_id","at");--> statement-breakpoint
CREATE INDEX "operations_open" ON "operations" USING btree ("entity_id") WHERE state = 'open';--> statement-breakpoint
CREATE INDEX "outbox_unpublished" ON "outbox" USING btree ("partition","id") WHERE published_at is null;--> statement-breakpoint
CREATE INDEX "outbox_published_at" ON "outbox" USING btree ("published_at") WHERE published_at is not null;