CREATE TABLE "items" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"list_id" uuid NOT NULL,
	"name" text NOT NULL,
	"quantity" numeric(10, 3) DEFAULT '1' NOT NULL,
	"unit" text,
	"note" text,
	"category" text,
	"status" text DEFAULT 'pending' NOT NULL,
	"position" text collate "C" NOT NULL,
	"added_by" uuid NOT NULL,
	"updated_by" uuid NOT NULL,
	"purchased_by" uuid,
	"purchased_at" timestamp(3) with time zone,
	"version" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"updated_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"deleted_at" timestamp(3) with time zone,
	CONSTRAINT "items_pkey" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "items_status_check" CHECK ("items"."status" in ('pending', 'purchased')),
	CONSTRAINT "items_quantity_check" CHECK ("items"."quantity" > 0 and "items"."quantity" <= 1000000)
);
--> statement-breakpoint
CREATE TABLE "list_events" (
	"tenant_id" uuid NOT NULL,
	"list_id" uuid NOT NULL,
	"seq" bigint NOT NULL,
	"type" text NOT NULL,
	"payload" jsonb NOT NULL,
	"actor_id" uuid NOT NULL,
	"at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "list_events_pkey" PRIMARY KEY("tenant_id","list_id","seq")
);
--> statement-breakpoint
CREATE TABLE "list_members" (
	"tenant_id" uuid NOT NULL,
	"list_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"role" text NOT NULL,
	"joined_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "list_members_pkey" PRIMARY KEY("tenant_id","list_id","user_id"),
	CONSTRAINT "list_members_role_check" CHECK ("list_members"."role" in ('owner', 'editor', 'viewer'))
);
--> statement-breakpoint
CREATE TABLE "revocations" (
	"tenant_id" uuid NOT NULL,
	"subject" uuid NOT NULL,
	"minimum_epoch" integer NOT NULL,
	"spared_session" uuid,
	"spared_epoch" integer,
	"at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "revocations_pkey" PRIMARY KEY("tenant_id","subject")
);
--> statement-breakpoint
CREATE TABLE "shopping_lists" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"owner_id" uuid NOT NULL,
	"created_by" uuid NOT NULL,
	"seq" bigint DEFAULT 0 NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	"item_count" integer DEFAULT 0 NOT NULL,
	"pending_count" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"updated_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"deleted_at" timestamp(3) with time zone,
	CONSTRAINT "shopping_lists_pkey" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "store_entries" (
	"key" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL,
	"expires_at" timestamp(3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "tenants" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"slug" text NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"epoch" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"updated_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "tenants_slug_key" UNIQUE("slug")
);
--> statement-breakpoint
CREATE TABLE "users" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"email" text NOT NULL,
	"full_name" text NOT NULL,
	"role" text NOT NULL,
	"password_hash" text NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"email_verified" boolean DEFAULT false NOT NULL,
	"token_epoch" integer DEFAULT 0 NOT NULL,
	"session_epoch" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"updated_at" timestamp(3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "users_pkey" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "users_email_key" UNIQUE("email"),
	CONSTRAINT "users_role_check" CHECK ("users"."role" in ('super_admin', 'tenant_admin', 'member'))
);
--> statement-breakpoint
ALTER TABLE "items" ADD CONSTRAINT "items_list_fkey" FOREIGN KEY ("tenant_id","list_id") REFERENCES "public"."shopping_lists"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "items" ADD CONSTRAINT "items_added_by_fkey" FOREIGN KEY ("tenant_id","added_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "list_events" ADD CONSTRAINT "list_events_list_fkey" FOREIGN KEY ("tenant_id","list_id") REFERENCES "public"."shopping_lists"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "list_members" ADD CONSTRAINT "list_members_list_fkey" FOREIGN KEY ("tenant_id","list_id") REFERENCES "public"."shopping_lists"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "list_members" ADD CONSTRAINT "list_members_user_fkey" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "revocations" ADD CONSTRAINT "revocations_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "shopping_lists" ADD CONSTRAINT "shopping_lists_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "shopping_lists" ADD CONSTRAINT "shopping_lists_owner_fkey" FOREIGN KEY ("tenant_id","owner_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "shopping_lists" ADD CONSTRAINT "shopping_lists_creator_fkey" FOREIGN KEY ("tenant_id","created_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "items_in_list_order" ON "items" USING btree ("tenant_id","list_id","position","id") WHERE "items"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "list_members_user" ON "list_members" USING btree ("tenant_id","user_id","list_id");--> statement-breakpoint
CREATE INDEX "revocations_newest" ON "revocations" USING btree ("at");--> statement-breakpoint
CREATE INDEX "shopping_lists_recent" ON "shopping_lists" USING btree ("tenant_id","updated_at","id");--> statement-breakpoint
CREATE INDEX "store_entries_expiry" ON "store_entries" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "tenants_newest" ON "tenants" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "users_newest" ON "users" USING btree ("tenant_id","created_at","id");