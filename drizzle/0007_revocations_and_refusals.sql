CREATE TABLE "refusal_counts" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"hour" timestamp(3) with time zone NOT NULL,
	"subject" text NOT NULL,
	"action" text NOT NULL,
	"reason" text NOT NULL,
	"count" integer NOT NULL,
	"listed" boolean NOT NULL,
	"last_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "refusal_counts_pkey" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "refusal_counts_key" UNIQUE("tenant_id","hour","subject","action","reason")
);
--> statement-breakpoint
CREATE TABLE "spent_invitations" (
	"tenant_id" uuid NOT NULL,
	"invitation_id" uuid NOT NULL,
	"at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "spent_invitations_pkey" PRIMARY KEY("tenant_id","invitation_id")
);
--> statement-breakpoint
ALTER TABLE "revocations" ADD COLUMN "transaction_id" "xid8";--> statement-breakpoint
ALTER TABLE "refusal_counts" ADD CONSTRAINT "refusal_counts_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "spent_invitations" ADD CONSTRAINT "spent_invitations_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "refusal_counts_newest" ON "refusal_counts" USING btree ("tenant_id","hour","id") WHERE "refusal_counts"."listed";--> statement-breakpoint
CREATE INDEX "refusal_counts_oldest" ON "refusal_counts" USING btree ("hour");--> statement-breakpoint
CREATE INDEX "spent_invitations_oldest" ON "spent_invitations" USING btree ("at");--> statement-breakpoint
CREATE INDEX "audit_log_refusals" ON "audit_log" USING btree ("at") WHERE "audit_log"."action" like '%\_failed';--> statement-breakpoint
CREATE INDEX "revocations_unseen" ON "revocations" USING btree ("transaction_id");
--> statement-breakpoint
-- Instances poll for what was committed since they last looked. Times do not tell, as a transaction may commit long
-- after it wrote; transaction ids and snapshots do. A trigger, since the release before writes revocations as well.
CREATE FUNCTION set_transaction_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.transaction_id := pg_current_xact_id();
  RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER set_transaction_id BEFORE INSERT OR UPDATE ON revocations
  FOR EACH ROW EXECUTE FUNCTION set_transaction_id();
--> statement-breakpoint
ALTER TABLE spent_invitations ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE spent_invitations FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY own_tenant ON spent_invitations FOR SELECT USING (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
CREATE POLICY own_tenant_append ON spent_invitations FOR INSERT WITH CHECK (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON spent_invitations FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON spent_invitations FOR DELETE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
ALTER TABLE refusal_counts ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE refusal_counts FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY own_tenant ON refusal_counts FOR SELECT USING (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
CREATE POLICY own_tenant_append ON refusal_counts FOR INSERT WITH CHECK (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
-- Changed by nobody but whoever counts, in the system's scope.
CREATE POLICY own_tenant_unchanged ON refusal_counts FOR UPDATE
  USING (tenant_id = (SELECT current_tenant())) WITH CHECK (false);
--> statement-breakpoint
CREATE POLICY system_read ON refusal_counts FOR SELECT USING ((SELECT in_system_scope()));
--> statement-breakpoint
CREATE POLICY system_append ON refusal_counts FOR INSERT WITH CHECK ((SELECT in_system_scope()));
--> statement-breakpoint
CREATE POLICY system_count ON refusal_counts FOR UPDATE USING ((SELECT in_system_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON refusal_counts FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON refusal_counts FOR DELETE
  USING ((SELECT in_housekeeping_scope()) AND hour < statement_timestamp() - interval '1 day');
--> statement-breakpoint
-- As delete_audit_entries, for refusals in the trail and those that are only counted: up to `amount` of either.
CREATE FUNCTION delete_audit_refusals(older_than timestamptz, amount integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  latest timestamptz := least(older_than, statement_timestamp() - interval '1 day');
  listed integer;
  counted integer;
BEGIN
  IF NOT in_housekeeping_scope() THEN
    RETURN 0;
  END IF;
  DELETE FROM audit_log a USING (
    SELECT tenant_id, id FROM audit_log WHERE action LIKE '%\_failed' AND at < latest ORDER BY at LIMIT amount
  ) o WHERE a.tenant_id = o.tenant_id AND a.id = o.id;
  GET DIAGNOSTICS listed = ROW_COUNT;
  DELETE FROM refusal_counts c USING (
    SELECT tenant_id, id FROM refusal_counts WHERE hour < latest ORDER BY hour LIMIT amount
  ) o WHERE c.tenant_id = o.tenant_id AND c.id = o.id;
  GET DIAGNOSTICS counted = ROW_COUNT;
  RETURN listed + counted;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION delete_audit_refusals(timestamptz, integer) FROM PUBLIC;
