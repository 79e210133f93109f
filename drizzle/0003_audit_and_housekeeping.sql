CREATE TABLE "audit_log" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"action" text NOT NULL,
	"actor_id" uuid,
	"actor_role" text,
	"target_type" text,
	"target_id" uuid,
	"details" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"address" text,
	"request_id" text,
	CONSTRAINT "audit_log_pkey" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "removal_announced_at" timestamp(3) with time zone;--> statement-breakpoint
ALTER TABLE "audit_log" ADD CONSTRAINT "audit_log_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_log_newest" ON "audit_log" USING btree ("tenant_id","at","id");--> statement-breakpoint
CREATE INDEX "audit_log_oldest" ON "audit_log" USING btree ("at");--> statement-breakpoint
CREATE INDEX "list_events_oldest" ON "list_events" USING btree ("at");--> statement-breakpoint
CREATE INDEX "users_unverified" ON "users" USING btree ("created_at") WHERE not "users"."email_verified";
--> statement-breakpoint
CREATE FUNCTION in_housekeeping_scope() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
  RETURN coalesce(current_setting('app.scope', true), '') = 'housekeeping';
--> statement-breakpoint
-- Appended to and read, never changed: there is no policy for UPDATE, so that not even the tables' owner may.
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY own_tenant ON audit_log FOR SELECT USING (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
CREATE POLICY own_tenant_append ON audit_log FOR INSERT WITH CHECK (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
CREATE POLICY system_append ON audit_log FOR INSERT WITH CHECK ((SELECT in_system_scope()) OR (SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON audit_log FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON audit_log FOR DELETE
  USING ((SELECT in_housekeeping_scope()) AND at < statement_timestamp() - interval '1 day');
--> statement-breakpoint
-- The application's role may not delete entries; the one way is this function, the oldest first, and nothing of the
-- last day whatever is asked for. It runs as the tables' owner, to whom the policies above apply as well.
CREATE FUNCTION delete_audit_entries(older_than timestamptz, amount integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  deleted integer;
BEGIN
  IF NOT in_housekeeping_scope() THEN
    RETURN 0;
  END IF;
  DELETE FROM audit_log a USING (
    SELECT tenant_id, id FROM audit_log
    WHERE at < least(older_than, statement_timestamp() - interval '1 day') ORDER BY at LIMIT amount
  ) o WHERE a.tenant_id = o.tenant_id AND a.id = o.id;
  GET DIAGNOSTICS deleted = ROW_COUNT;
  RETURN deleted;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION delete_audit_entries(timestamptz, integer) FROM PUBLIC;
--> statement-breakpoint
-- Housekeeping works on all tenants, on what it clears away and nothing else.
CREATE POLICY housekeeping_read ON list_events FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON list_events FOR DELETE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON users FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_update ON users FOR UPDATE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON users FOR DELETE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON revocations FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON revocations FOR DELETE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON tenants FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
-- Rows may be locked, which asks for an UPDATE policy, but not changed.
CREATE POLICY housekeeping_lock ON tenants FOR UPDATE USING ((SELECT in_housekeeping_scope())) WITH CHECK (false);
--> statement-breakpoint
CREATE POLICY housekeeping_lock ON revocations FOR UPDATE USING ((SELECT in_housekeeping_scope())) WITH CHECK (false);
--> statement-breakpoint
-- In no other scope is a user ever deleted, nor an event.
CREATE POLICY only_housekeeping_deletes ON users AS RESTRICTIVE FOR DELETE
  USING ((SELECT in_housekeeping_scope()) AND NOT email_verified);
--> statement-breakpoint
CREATE POLICY only_housekeeping_deletes ON list_events AS RESTRICTIVE FOR DELETE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'minimart_app') THEN
    GRANT SELECT, INSERT ON audit_log TO minimart_app;
    GRANT DELETE ON users, list_events TO minimart_app;
    GRANT EXECUTE ON FUNCTION delete_audit_entries(timestamptz, integer) TO minimart_app;
  END IF;
END $$;
