DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'minimart_app') THEN
    REVOKE DELETE ON users, list_events FROM minimart_app;
  END IF;
END $$;
--> statement-breakpoint
DROP POLICY only_housekeeping_deletes ON list_events;
--> statement-breakpoint
DROP POLICY only_housekeeping_deletes ON users;
--> statement-breakpoint
DROP POLICY housekeeping_lock ON revocations;
--> statement-breakpoint
DROP POLICY housekeeping_delete ON revocations;
--> statement-breakpoint
DROP POLICY housekeeping_read ON revocations;
--> statement-breakpoint
DROP POLICY housekeeping_lock ON tenants;
--> statement-breakpoint
DROP POLICY housekeeping_read ON tenants;
--> statement-breakpoint
DROP POLICY housekeeping_delete ON users;
--> statement-breakpoint
DROP POLICY housekeeping_update ON users;
--> statement-breakpoint
DROP POLICY housekeeping_read ON users;
--> statement-breakpoint
DROP POLICY housekeeping_delete ON list_events;
--> statement-breakpoint
DROP POLICY housekeeping_read ON list_events;
--> statement-breakpoint
DROP FUNCTION delete_audit_entries(timestamptz, integer);
--> statement-breakpoint
DROP TABLE audit_log;
--> statement-breakpoint
DROP FUNCTION in_housekeeping_scope();
--> statement-breakpoint
DROP INDEX list_events_oldest;
--> statement-breakpoint
DROP INDEX users_unverified;
--> statement-breakpoint
ALTER TABLE users DROP COLUMN removal_announced_at;
