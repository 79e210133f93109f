DROP POLICY streams_scope ON list_events;
--> statement-breakpoint
DROP FUNCTION event_mark(uuid, uuid, bigint, timestamptz);
--> statement-breakpoint
ALTER TABLE "shopping_lists" DROP COLUMN "mark_seq";--> statement-breakpoint
ALTER TABLE "shopping_lists" DROP COLUMN "mark";--> statement-breakpoint
ALTER TABLE "list_events" DROP COLUMN "action_id";
