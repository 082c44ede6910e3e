-- The schema that the migrations make. Written by `npm run golden`, compared by test/db/golden.test.ts.

-- Enums
CREATE TYPE allocation_state AS ENUM ('requested', 'provisioning', 'active', 'releasing', 'released', 'failed', 'release_failed');
CREATE TYPE dead_letter_reason AS ENUM ('not_json', 'unknown_type', 'unsupported_version', 'schema_violation', 'rejected', 'exhausted', 'crashed');
CREATE TYPE dead_letter_state AS ENUM ('open', 'replayed', 'discarded');
CREATE TYPE dlq_replay_state AS ENUM ('running', 'completed', 'cancelled');
CREATE TYPE node_state AS ENUM ('enrolling', 'available', 'draining', 'quarantined', 'offline', 'retired');
CREATE TYPE node_task_kind AS ENUM ('node.allocation_prepare', 'node.allocation_cleanup', 'node.gpu_scrub', 'node.storage_cleanup', 'node.validate_clean');
CREATE TYPE node_task_state AS ENUM ('queued', 'offered', 'succeeded', 'failed', 'cancelled', 'superseded');
CREATE TYPE notification_audience AS ENUM ('user', 'operators');
CREATE TYPE notification_severity AS ENUM ('info', 'warning', 'error');
CREATE TYPE notification_type AS ENUM ('low_balance_warning', 'balance_depleted', 'info');
CREATE TYPE operation_kind AS ENUM ('allocation.create', 'allocation.release', 'allocation.force_release', 'dlq_replay.create', 'dlq_replay.cancel');
CREATE TYPE operation_state AS ENUM ('open', 'accepted', 'refused');
CREATE TYPE project_role AS ENUM ('owner', 'member');
CREATE TYPE scheduler_type AS ENUM ('bare_metal', 'slurm', 'k8s', 'ray');
CREATE TYPE unblocker AS ENUM ('nobody', 'user', 'admin', 'node', 'platform');

-- Sequences
CREATE SEQUENCE posix_ids AS integer MINVALUE 10000 MAXVALUE 199999 START 10000 INCREMENT 1;

-- Tables
CREATE TABLE allocations (
  id uuid NOT NULL,
  org_id uuid NOT NULL,
  project_id uuid NOT NULL,
  user_id uuid NOT NULL,
  sku text NOT NULL,
  scheduler_type scheduler_type NOT NULL,
  state allocation_state NOT NULL,
  version integer NOT NULL,
  node_id uuid NOT NULL,
  create_operation_id uuid NOT NULL,
  correlation_id text NOT NULL,
  waiting_on text,
  deadline timestamp(3) with time zone,
  who_can_unblock unblocker NOT NULL,
  failure_reason text,
  created_at timestamp(3) with time zone NOT NULL,
  state_since timestamp(3) with time zone NOT NULL,
  active_at timestamp(3) with time zone,
  release_requested_at timestamp(3) with time zone,
  stopped_at timestamp(3) with time zone,
  released_at timestamp(3) with time zone,
  CONSTRAINT allocations_node_id_nodes_id_fk FOREIGN KEY (node_id) REFERENCES nodes(id),
  CONSTRAINT allocations_org_id_orgs_id_fk FOREIGN KEY (org_id) REFERENCES orgs(id),
  CONSTRAINT allocations_project_id_projects_id_fk FOREIGN KEY (project_id) REFERENCES projects(id),
  CONSTRAINT allocations_sku_skus_code_fk FOREIGN KEY (sku) REFERENCES skus(code),
  CONSTRAINT allocations_user_id_users_id_fk FOREIGN KEY (user_id) REFERENCES users(id),
  CONSTRAINT allocations_pkey PRIMARY KEY (id)
);
CREATE TABLE audit_logs (
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  at timestamp(3) with time zone NOT NULL,
  actor_user_id uuid,
  actor_role text NOT NULL,
  action text NOT NULL,
  target_type text NOT NULL,
  target_id text,
  result text NOT NULL,
  correlation_id text NOT NULL,
  details jsonb NOT NULL,
  CONSTRAINT audit_logs_result CHECK ((result = ANY (ARRAY['succeeded'::text, 'refused'::text]))),
  CONSTRAINT audit_logs_pkey PRIMARY KEY (id)
);
CREATE TABLE clock_offset (
  singleton boolean DEFAULT true NOT NULL,
  clock_offset interval NOT NULL,
  CONSTRAINT clock_offset_singleton CHECK (singleton),
  CONSTRAINT clock_offset_pkey PRIMARY KEY (singleton)
);
CREATE TABLE consumed_events (
  consumer text NOT NULL,
  event_id uuid NOT NULL,
  at timestamp(3) with time zone NOT NULL,
  CONSTRAINT consumed_events_consumer_event_id_pk PRIMARY KEY (consumer, event_id)
);
CREATE TABLE dead_letters (
  id uuid NOT NULL,
  seq bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  consumer text NOT NULL,
  consumer_group text NOT NULL,
  message_key text NOT NULL,
  subject text NOT NULL,
  event_id uuid,
  correlation_id text,
  reason dead_letter_reason NOT NULL,
  error_code text,
  detail text,
  body bytea NOT NULL,
  stream text NOT NULL,
  stream_seq bigint NOT NULL,
  deliveries integer NOT NULL,
  first_at timestamp(3) with time zone NOT NULL,
  last_at timestamp(3) with time zone NOT NULL,
  state dead_letter_state NOT NULL,
  arrivals integer DEFAULT 1 NOT NULL,
  replays integer DEFAULT 0 NOT NULL,
  history jsonb NOT NULL,
  dlq_seq bigint NOT NULL,
  discard_reason text,
  updated_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT dead_letters_pkey PRIMARY KEY (id),
  CONSTRAINT dead_letters_message UNIQUE (consumer, message_key),
  CONSTRAINT dead_letters_seq_unique UNIQUE (seq)
);
CREATE TABLE dlq_replays (
  id uuid NOT NULL,
  state dlq_replay_state NOT NULL,
  version integer NOT NULL,
  filter jsonb NOT NULL,
  dry_run boolean NOT NULL,
  through_seq bigint NOT NULL,
  after_seq bigint NOT NULL,
  matched integer NOT NULL,
  replayed integer NOT NULL,
  skipped integer NOT NULL,
  requested_by uuid NOT NULL,
  requested_role text NOT NULL,
  reason text NOT NULL,
  create_operation_id uuid NOT NULL,
  correlation_id text NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  state_since timestamp(3) with time zone NOT NULL,
  finished_at timestamp(3) with time zone,
  CONSTRAINT dlq_replays_pkey PRIMARY KEY (id)
);
CREATE TABLE event_log (
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  event_id uuid NOT NULL,
  subject text NOT NULL,
  version text NOT NULL,
  correlation_id text NOT NULL,
  occurred_at timestamp(3) with time zone NOT NULL,
  payload jsonb NOT NULL,
  stream text NOT NULL,
  stream_seq bigint NOT NULL,
  received_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT event_log_pkey PRIMARY KEY (id),
  CONSTRAINT event_log_event_id_unique UNIQUE (event_id)
);
CREATE TABLE idempotency_records (
  caller uuid NOT NULL,
  route text NOT NULL,
  key text NOT NULL,
  body_hash text NOT NULL,
  status smallint NOT NULL,
  response jsonb,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT idempotency_records_caller_route_key_pk PRIMARY KEY (caller, route, key)
);
CREATE TABLE metered_allocations (
  allocation_id uuid NOT NULL,
  user_id uuid NOT NULL,
  project_id uuid,
  node_id uuid,
  started_at timestamp(3) with time zone,
  ended_at timestamp(3) with time zone,
  ended_by text,
  recorded_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT metered_allocations_end CHECK (((ended_at IS NULL) = (ended_by IS NULL))),
  CONSTRAINT metered_allocations_pkey PRIMARY KEY (allocation_id)
);
CREATE TABLE node_tasks (
  id uuid NOT NULL,
  node_id uuid NOT NULL,
  allocation_id uuid NOT NULL,
  kind node_task_kind NOT NULL,
  state node_task_state NOT NULL,
  params jsonb NOT NULL,
  fence bigint NOT NULL,
  workflow_id text NOT NULL,
  run_id text NOT NULL,
  activity_id text NOT NULL,
  attempt integer NOT NULL,
  correlation_id text NOT NULL,
  traceparent text,
  created_at timestamp(3) with time zone NOT NULL,
  expires_at timestamp(3) with time zone NOT NULL,
  offered_at timestamp(3) with time zone,
  last_seen_at timestamp(3) with time zone,
  result jsonb,
  verdict jsonb,
  result_at timestamp(3) with time zone,
  completed_at timestamp(3) with time zone,
  CONSTRAINT node_tasks_node_id_nodes_id_fk FOREIGN KEY (node_id) REFERENCES nodes(id),
  CONSTRAINT node_tasks_pkey PRIMARY KEY (id),
  CONSTRAINT node_tasks_activity UNIQUE (workflow_id, run_id, activity_id)
);
CREATE TABLE nodes (
  id uuid NOT NULL,
  name text NOT NULL,
  sku text NOT NULL,
  state node_state NOT NULL,
  slot_count integer NOT NULL,
  ssh_host text NOT NULL,
  ssh_port integer NOT NULL,
  agent_secret_hash bytea NOT NULL,
  fence bigint DEFAULT 0 NOT NULL,
  last_contact_at timestamp(3) with time zone,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT nodes_slot_count CHECK (((slot_count >= 1) AND (slot_count <= 1024))),
  CONSTRAINT nodes_sku_skus_code_fk FOREIGN KEY (sku) REFERENCES skus(code),
  CONSTRAINT nodes_pkey PRIMARY KEY (id),
  CONSTRAINT nodes_name_unique UNIQUE (name)
);
CREATE TABLE notification_cursors (
  recipient uuid NOT NULL,
  last_seq bigint NOT NULL,
  CONSTRAINT notification_cursors_pkey PRIMARY KEY (recipient)
);
CREATE TABLE notification_reads (
  user_id uuid NOT NULL,
  notification_id uuid NOT NULL,
  read_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT notification_reads_notification_id_notifications_id_fk FOREIGN KEY (notification_id) REFERENCES notifications(id) ON DELETE CASCADE,
  CONSTRAINT notification_reads_user_id_notification_id_pk PRIMARY KEY (user_id, notification_id)
);
CREATE TABLE notifications (
  id uuid NOT NULL,
  audience notification_audience NOT NULL,
  recipient uuid NOT NULL,
  seq bigint NOT NULL,
  event_id uuid NOT NULL,
  subject text NOT NULL,
  severity notification_severity NOT NULL,
  type notification_type NOT NULL,
  title text NOT NULL,
  message text NOT NULL,
  action_url text,
  occurred_at timestamp(3) with time zone NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT notifications_pkey PRIMARY KEY (id),
  CONSTRAINT notifications_recipient_seq UNIQUE (recipient, seq)
);
CREATE TABLE operations (
  id uuid NOT NULL,
  caller uuid NOT NULL,
  route text NOT NULL,
  key text NOT NULL,
  body_hash text NOT NULL,
  kind operation_kind NOT NULL,
  org_id uuid NOT NULL,
  entity_id uuid NOT NULL,
  request jsonb NOT NULL,
  state operation_state NOT NULL,
  outcome jsonb,
  response jsonb,
  correlation_id text NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  decided_at timestamp(3) with time zone,
  CONSTRAINT operations_pkey PRIMARY KEY (id),
  CONSTRAINT operations_caller_route_key UNIQUE (caller, route, key)
);
CREATE TABLE orgs (
  id uuid NOT NULL,
  name text NOT NULL,
  personal boolean NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT orgs_pkey PRIMARY KEY (id)
);
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  event_id uuid NOT NULL,
  subject text NOT NULL,
  aggregate_id uuid NOT NULL,
  aggregate_seq integer NOT NULL,
  "position" smallint DEFAULT 0 NOT NULL,
  partition smallint NOT NULL,
  body jsonb NOT NULL,
  traceparent text,
  created_at timestamp(3) with time zone NOT NULL,
  published_at timestamp(3) with time zone,
  CONSTRAINT outbox_pkey PRIMARY KEY (id),
  CONSTRAINT outbox_aggregate UNIQUE (aggregate_id, aggregate_seq, "position"),
  CONSTRAINT outbox_event_id_unique UNIQUE (event_id)
);
CREATE TABLE outbox_partitions (
  partition smallint NOT NULL,
  owner text,
  epoch bigint DEFAULT 0 NOT NULL,
  expires_at timestamp(3) with time zone,
  CONSTRAINT outbox_partitions_pkey PRIMARY KEY (partition)
);
CREATE TABLE placements (
  node_id uuid NOT NULL,
  slot integer NOT NULL,
  allocation_id uuid NOT NULL,
  taken_at timestamp(3) with time zone NOT NULL,
  quarantined_at timestamp(3) with time zone,
  CONSTRAINT placements_node_id_nodes_id_fk FOREIGN KEY (node_id) REFERENCES nodes(id),
  CONSTRAINT placements_node_id_slot_pk PRIMARY KEY (node_id, slot)
);
CREATE TABLE policy_values (
  key text NOT NULL,
  value jsonb NOT NULL,
  updated_at timestamp(3) with time zone,
  CONSTRAINT policy_values_pkey PRIMARY KEY (key)
);
CREATE TABLE posix_identities (
  user_id uuid NOT NULL,
  username text NOT NULL,
  uid integer NOT NULL,
  gid integer NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT posix_identities_gid CHECK (((gid >= 10000) AND (gid <= 199999))),
  CONSTRAINT posix_identities_uid CHECK (((uid >= 10000) AND (uid <= 199999))),
  CONSTRAINT posix_identities_username CHECK ((username ~ '^[a-z_][a-z0-9_-]{0,31}$'::text)),
  CONSTRAINT posix_identities_user_id_users_id_fk FOREIGN KEY (user_id) REFERENCES users(id),
  CONSTRAINT posix_identities_pkey PRIMARY KEY (user_id),
  CONSTRAINT posix_identities_gid_unique UNIQUE (gid),
  CONSTRAINT posix_identities_uid_unique UNIQUE (uid),
  CONSTRAINT posix_identities_username_unique UNIQUE (username)
);
CREATE TABLE project_members (
  project_id uuid NOT NULL,
  user_id uuid NOT NULL,
  role project_role NOT NULL,
  added_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT project_members_project_id_projects_id_fk FOREIGN KEY (project_id) REFERENCES projects(id),
  CONSTRAINT project_members_user_id_users_id_fk FOREIGN KEY (user_id) REFERENCES users(id),
  CONSTRAINT project_members_project_id_user_id_pk PRIMARY KEY (project_id, user_id)
);
CREATE TABLE projects (
  id uuid NOT NULL,
  org_id uuid NOT NULL,
  name text NOT NULL,
  display_name text NOT NULL,
  owner_user_id uuid NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  updated_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT projects_org_id_orgs_id_fk FOREIGN KEY (org_id) REFERENCES orgs(id),
  CONSTRAINT projects_owner_user_id_users_id_fk FOREIGN KEY (owner_user_id) REFERENCES users(id),
  CONSTRAINT projects_pkey PRIMARY KEY (id),
  CONSTRAINT projects_org_id_name UNIQUE (org_id, name)
);
CREATE TABLE skus (
  code text NOT NULL,
  title text NOT NULL,
  gpu_model text NOT NULL,
  gpu_count integer NOT NULL,
  cpu_cores integer NOT NULL,
  memory_gib integer NOT NULL,
  price_per_hour_minor bigint NOT NULL,
  currency text NOT NULL,
  offered boolean DEFAULT true NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT skus_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
  CONSTRAINT skus_price CHECK ((price_per_hour_minor >= 0)),
  CONSTRAINT skus_pkey PRIMARY KEY (code)
);
CREATE TABLE ssh_keys (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  name text NOT NULL,
  type text NOT NULL,
  fingerprint text NOT NULL,
  public_key text NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT ssh_keys_user_id_users_id_fk FOREIGN KEY (user_id) REFERENCES users(id),
  CONSTRAINT ssh_keys_pkey PRIMARY KEY (id),
  CONSTRAINT ssh_keys_user_id_fingerprint UNIQUE (user_id, fingerprint)
);
CREATE TABLE timeline (
  entity_id uuid NOT NULL,
  seq integer NOT NULL,
  stem text NOT NULL,
  event text NOT NULL,
  from_state text,
  to_state text NOT NULL,
  at timestamp(3) with time zone NOT NULL,
  actor_type text NOT NULL,
  actor_user_id uuid,
  reason text,
  operation_id uuid,
  correlation_id text NOT NULL,
  CONSTRAINT timeline_entity_id_seq_pk PRIMARY KEY (entity_id, seq)
);
CREATE TABLE users (
  id uuid NOT NULL,
  org_id uuid NOT NULL,
  created_at timestamp(3) with time zone NOT NULL,
  CONSTRAINT users_org_id_orgs_id_fk FOREIGN KEY (org_id) REFERENCES orgs(id),
  CONSTRAINT users_pkey PRIMARY KEY (id)
);

-- Indexes
CREATE INDEX allocations_created_at ON public.allocations USING btree (created_at, id);
CREATE INDEX allocations_node_id ON public.allocations USING btree (node_id);
CREATE INDEX allocations_project_id_created_at ON public.allocations USING btree (project_id, created_at);
CREATE INDEX allocations_state ON public.allocations USING btree (state);
CREATE INDEX allocations_user_id_created_at ON public.allocations USING btree (user_id, created_at);
CREATE INDEX audit_logs_actor ON public.audit_logs USING btree (actor_user_id, at);
CREATE INDEX audit_logs_at ON public.audit_logs USING btree (at, id);
CREATE INDEX audit_logs_target ON public.audit_logs USING btree (target_type, target_id);
CREATE INDEX consumed_events_at ON public.consumed_events USING btree (at);
CREATE INDEX dead_letters_closed ON public.dead_letters USING btree (updated_at) WHERE (state <> 'open'::dead_letter_state);
CREATE INDEX dead_letters_open ON public.dead_letters USING btree (subject) WHERE (state = 'open'::dead_letter_state);
CREATE INDEX dead_letters_state ON public.dead_letters USING btree (state, seq);
CREATE INDEX dlq_replays_created_at ON public.dlq_replays USING btree (created_at, id);
CREATE INDEX event_log_correlation_id ON public.event_log USING btree (correlation_id);
CREATE INDEX event_log_received_at ON public.event_log USING btree (received_at);
CREATE INDEX event_log_subject ON public.event_log USING btree (subject, id);
CREATE INDEX metered_allocations_running ON public.metered_allocations USING btree (started_at) WHERE (ended_at IS NULL);
CREATE INDEX node_tasks_allocation_id ON public.node_tasks USING btree (allocation_id, fence);
CREATE INDEX node_tasks_open ON public.node_tasks USING btree (node_id) WHERE (state = ANY (ARRAY['queued'::node_task_state, 'offered'::node_task_state]));
CREATE INDEX node_tasks_uncompleted ON public.node_tasks USING btree (result_at) WHERE ((result_at IS NOT NULL) AND (completed_at IS NULL));
CREATE INDEX nodes_agent_secret_hash ON public.nodes USING btree (agent_secret_hash);
CREATE INDEX nodes_sku_state ON public.nodes USING btree (sku, state);
CREATE INDEX notification_reads_notification_id ON public.notification_reads USING btree (notification_id);
CREATE INDEX notifications_created_at ON public.notifications USING btree (created_at);
CREATE INDEX operations_open ON public.operations USING btree (entity_id) WHERE (state = 'open'::operation_state);
CREATE INDEX outbox_published_at ON public.outbox USING btree (published_at) WHERE (published_at IS NOT NULL);
CREATE INDEX outbox_unpublished ON public.outbox USING btree (partition, id) WHERE (published_at IS NULL);
CREATE INDEX outbox_waiting ON public.outbox USING btree (aggregate_id, aggregate_seq, "position") WHERE (published_at IS NULL);
CREATE INDEX placements_allocation_id ON public.placements USING btree (allocation_id);
CREATE INDEX project_members_user_id ON public.project_members USING btree (user_id);
CREATE INDEX users_org_id ON public.users USING btree (org_id);

-- Functions
CREATE OR REPLACE FUNCTION public.gpuaas_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END $function$;
CREATE OR REPLACE FUNCTION public.gpuaas_keep_open_letters()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$ BEGIN RAISE EXCEPTION 'an open dead letter is not deleted' USING ERRCODE = 'insufficient_privilege'; END $function$;
CREATE OR REPLACE FUNCTION public.gpuaas_now()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$ SELECT date_trunc('milliseconds', statement_timestamp()) + coalesce((SELECT clock_offset FROM clock_offset), interval '0') $function$;

-- Triggers
CREATE TRIGGER audit_logs_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_logs FOR EACH STATEMENT EXECUTE FUNCTION gpuaas_append_only();
CREATE TRIGGER dead_letters_keep_open BEFORE DELETE ON public.dead_letters FOR EACH ROW WHEN ((old.state = 'open'::dead_letter_state)) EXECUTE FUNCTION gpuaas_keep_open_letters();
CREATE TRIGGER dead_letters_no_truncate BEFORE TRUNCATE ON public.dead_letters FOR EACH STATEMENT EXECUTE FUNCTION gpuaas_keep_open_letters();
CREATE TRIGGER timeline_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.timeline FOR EACH STATEMENT EXECUTE FUNCTION gpuaas_append_only();

-- Rights
GRANT EXECUTE ON FUNCTION gpuaas_append_only() TO PUBLIC;
GRANT EXECUTE ON FUNCTION gpuaas_keep_open_letters() TO PUBLIC;
GRANT EXECUTE ON FUNCTION gpuaas_now() TO PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;
GRANT USAGE ON SCHEMA public TO gpuaas_app;
GRANT USAGE ON SCHEMA public TO gpuaas_test;
GRANT SELECT, USAGE ON SEQUENCE audit_logs_id_seq TO gpuaas_app;
GRANT SELECT, USAGE ON SEQUENCE dead_letters_seq_seq TO gpuaas_app;
GRANT SELECT, USAGE ON SEQUENCE event_log_id_seq TO gpuaas_app;
GRANT SELECT, USAGE ON SEQUENCE outbox_id_seq TO gpuaas_app;
GRANT SELECT, USAGE ON SEQUENCE posix_ids TO gpuaas_app;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE allocations TO gpuaas_app;
GRANT SELECT ON TABLE allocations TO gpuaas_test;
GRANT INSERT, SELECT ON TABLE audit_logs TO gpuaas_app;
GRANT SELECT ON TABLE audit_logs TO gpuaas_test;
GRANT SELECT ON TABLE clock_offset TO gpuaas_app;
GRANT SELECT, UPDATE ON TABLE clock_offset TO gpuaas_test;
GRANT DELETE, INSERT, SELECT ON TABLE consumed_events TO gpuaas_app;
GRANT SELECT ON TABLE consumed_events TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE dead_letters TO gpuaas_app;
GRANT SELECT ON TABLE dead_letters TO gpuaas_test;
GRANT INSERT, SELECT, UPDATE ON TABLE dlq_replays TO gpuaas_app;
GRANT SELECT ON TABLE dlq_replays TO gpuaas_test;
GRANT DELETE, INSERT, SELECT ON TABLE event_log TO gpuaas_app;
GRANT SELECT ON TABLE event_log TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE idempotency_records TO gpuaas_app;
GRANT SELECT ON TABLE idempotency_records TO gpuaas_test;
GRANT INSERT, SELECT, UPDATE ON TABLE metered_allocations TO gpuaas_app;
GRANT SELECT ON TABLE metered_allocations TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE node_tasks TO gpuaas_app;
GRANT SELECT ON TABLE node_tasks TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE nodes TO gpuaas_app;
GRANT SELECT ON TABLE nodes TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE notification_cursors TO gpuaas_app;
GRANT SELECT ON TABLE notification_cursors TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE notification_reads TO gpuaas_app;
GRANT SELECT ON TABLE notification_reads TO gpuaas_test;
GRANT DELETE, INSERT, SELECT ON TABLE notifications TO gpuaas_app;
GRANT SELECT ON TABLE notifications TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE operations TO gpuaas_app;
GRANT SELECT ON TABLE operations TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE orgs TO gpuaas_app;
GRANT SELECT ON TABLE orgs TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE outbox TO gpuaas_app;
GRANT SELECT ON TABLE outbox TO gpuaas_test;
GRANT SELECT, UPDATE ON TABLE outbox_partitions TO gpuaas_app;
GRANT SELECT ON TABLE outbox_partitions TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE placements TO gpuaas_app;
GRANT SELECT ON TABLE placements TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE policy_values TO gpuaas_app;
GRANT SELECT ON TABLE policy_values TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE posix_identities TO gpuaas_app;
GRANT SELECT ON TABLE posix_identities TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE project_members TO gpuaas_app;
GRANT SELECT ON TABLE project_members TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE projects TO gpuaas_app;
GRANT SELECT ON TABLE projects TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE skus TO gpuaas_app;
GRANT SELECT ON TABLE skus TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ssh_keys TO gpuaas_app;
GRANT SELECT ON TABLE ssh_keys TO gpuaas_test;
GRANT INSERT, SELECT ON TABLE timeline TO gpuaas_app;
GRANT SELECT ON TABLE timeline TO gpuaas_test;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE users TO gpuaas_app;
GRANT SELECT ON TABLE users TO gpuaas_test;
