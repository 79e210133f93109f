-- What lists and tenants keep. All constant defaults, so that no row is rewritten, and nothing is counted here: a release
-- that does not know these columns may write beside this one, and what it wrote is found by the list's seq.
ALTER TABLE "shopping_lists" ADD COLUMN "text_bytes" bigint;--> statement-breakpoint
-- The seq as of which text_bytes holds. At any other, the next change sums the items' text up anew.
ALTER TABLE "shopping_lists" ADD COLUMN "text_seq" bigint;--> statement-breakpoint
ALTER TABLE "shopping_lists" ADD COLUMN "event_bytes" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
-- The last event that event_bytes counts. The background job counts on from there, -1 being before a list's first count.
ALTER TABLE "shopping_lists" ADD COLUMN "counted_seq" bigint DEFAULT -1 NOT NULL;--> statement-breakpoint
ALTER TABLE "tenants" ADD COLUMN "kept_bytes" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "shopping_lists_uncounted" ON "shopping_lists" USING btree ("tenant_id","id") WHERE "shopping_lists"."counted_seq" <> "shopping_lists"."seq";
--> statement-breakpoint
-- Housekeeping takes the events that it deletes off their lists' counts.
CREATE POLICY housekeeping_read_counts ON shopping_lists FOR SELECT USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_count ON shopping_lists FOR UPDATE USING ((SELECT in_housekeeping_scope()));
