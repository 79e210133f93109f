CREATE INDEX "items_deleted" ON "items" USING btree ("deleted_at") WHERE "items"."deleted_at" is not null;
--> statement-breakpoint
-- In no other scope is an item's row ever deleted, and in none before a day has passed, whatever is asked for.
CREATE POLICY only_housekeeping_deletes ON items AS RESTRICTIVE FOR DELETE
  USING ((SELECT in_housekeeping_scope()) AND deleted_at < statement_timestamp() - interval '1 day');
--> statement-breakpoint
CREATE POLICY housekeeping_delete ON items FOR DELETE USING ((SELECT in_housekeeping_scope()));
--> statement-breakpoint
CREATE POLICY housekeeping_read ON items FOR SELECT
  USING ((SELECT in_housekeeping_scope()) AND deleted_at IS NOT NULL);
