DROP FUNCTION delete_audit_refusals(timestamptz, integer);
--> statement-breakpoint
DROP INDEX audit_log_refusals;
--> statement-breakpoint
DROP TABLE refusal_counts;
--> statement-breakpoint
-- Loses nothing: spent invitations are in `revocations` too.
DROP TABLE spent_invitations;
--> statement-breakpoint
DROP TRIGGER set_transaction_id ON revocations;
--> statement-breakpoint
DROP FUNCTION set_transaction_id();
--> statement-breakpoint
DROP INDEX revocations_unseen;
--> statement-breakpoint
ALTER TABLE revocations DROP COLUMN transaction_id;
