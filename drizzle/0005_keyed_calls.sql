CREATE TABLE "keyed_calls" (
	"tenant_id" uuid NOT NULL,
	"key" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"method" text NOT NULL,
	"path" text NOT NULL,
	"body_hash" text NOT NULL,
	"list_id" uuid NOT NULL,
	"subjects" uuid[] NOT NULL,
	"at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "keyed_calls_pkey" PRIMARY KEY("tenant_id","key","user_id")
);
--> statement-breakpoint
ALTER TABLE "keyed_calls" ADD CONSTRAINT "keyed_calls_list_fkey" FOREIGN KEY ("tenant_id","list_id") REFERENCES "public"."shopping_lists"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "keyed_calls" ADD CONSTRAINT "keyed_calls_user_fkey" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "keyed_calls_oldest" ON "keyed_calls" USING btree ("at");
--> statement-breakpoint
ALTER TABLE keyed_calls ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE keyed_calls FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY own_tenant ON keyed_calls USING (tenant_id = (SELECT current_tenant()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON keyed_calls FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON keyed_calls FOR DELETE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
-- In no other scope is one ever deleted.
CREATE POLICY only_housekeeping_deletes ON keyed_calls AS RESTRICTIVE FOR DELETE USING ((SELECT in_housekeeping_scope()));
