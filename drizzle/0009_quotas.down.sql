DROP POLICY housekeeping_count ON shopping_lists;
--> statement-breakpoint
DROP POLICY housekeeping_read_counts ON shopping_lists;
--> statement-breakpoint
DROP INDEX shopping_lists_uncounted;
--> statement-breakpoint
ALTER TABLE tenants DROP COLUMN kept_bytes;
--> statement-breakpoint
ALTER TABLE shopping_lists DROP COLUMN counted_seq;
--> statement-breakpoint
ALTER TABLE shopping_lists DROP COLUMN event_bytes;
--> statement-breakpoint
ALTER TABLE shopping_lists DROP COLUMN text_seq;
--> statement-breakpoint
ALTER TABLE shopping_lists DROP COLUMN text_bytes;
