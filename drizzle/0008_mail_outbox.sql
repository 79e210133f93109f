CREATE TABLE "mail_outbox" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"sealed" "bytea" NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"created_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "mail_outbox_pkey" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
ALTER TABLE "mail_outbox" ADD CONSTRAINT "mail_outbox_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "mail_outbox_due" ON "mail_outbox" USING btree ("due_at");
--> statement-breakpoint
-- Sealed values do not compress.
ALTER TABLE mail_outbox ALTER COLUMN sealed SET STORAGE EXTERNAL;
--> statement-breakpoint
CREATE FUNCTION in_outbox_scope() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
  RETURN coalesce(current_setting('app.scope', true), '') = 'outbox';
--> statement-breakpoint
ALTER TABLE mail_outbox ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE mail_outbox FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY own_tenant ON mail_outbox USING (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
CREATE POLICY system_append ON mail_outbox FOR INSERT WITH CHECK ((SELECT in_system_scope()));
--> statement-breakpoint
-- Whoever sends mails takes them from all tenants, and sees nothing else.
CREATE POLICY outbox_scope ON mail_outbox USING ((SELECT in_outbox_scope()));
--> statement-breakpoint
-- Bounds the table: past 2,000 mails of a tenant, or 20,000 in all, whatever would cause another is refused as a whole.
-- It runs as the table's owner, to whom row-level security applies as well, and sees all rows in the outbox's scope.
CREATE FUNCTION mail_outbox_room() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  scope CONSTANT text := coalesce(current_setting('app.scope', true), '');
  is_full boolean;
BEGIN
  PERFORM set_config('app.scope', 'outbox', true);
  is_full := EXISTS (SELECT FROM mail_outbox WHERE tenant_id = NEW.tenant_id OFFSET 1999)
    OR EXISTS (SELECT FROM mail_outbox OFFSET 19999);
  PERFORM set_config('app.scope', scope, true);
  IF is_full THEN
    RAISE EXCEPTION 'too many mails wait' USING ERRCODE = 'check_violation', CONSTRAINT = 'mail_outbox_room';
  END IF;
  RETURN NEW;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION mail_outbox_room() FROM PUBLIC;
--> statement-breakpoint
CREATE TRIGGER mail_outbox_room BEFORE INSERT ON mail_outbox FOR EACH ROW EXECUTE FUNCTION mail_outbox_room();
