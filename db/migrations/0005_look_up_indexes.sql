CREATE INDEX "nodes_agent_secret_hash" ON "nodes" USING btree ("agent_secret_hash");--> statement-breakpoint
CREATE INDEX "dead_letters_closed" ON "dead_letters" USING btree ("updated_at") WHERE state <> 'open';--> statement-breakpoint
CREATE INDEX "notification_reads_notification_id" ON "notification_reads" USING btree ("notification_id");