-- Positions: what tells an event from one that had the same number in a history since rewound.
--
-- Nullable and with its default set afterwards, so that no row is rewritten. The default is for a release that does not
-- know the column and still writes beside this one.
ALTER TABLE "list_events" ADD COLUMN "action_id" uuid;--> statement-breakpoint
ALTER TABLE "list_events" ALTER COLUMN "action_id" SET DEFAULT gen_random_uuid();--> statement-breakpoint
ALTER TABLE "shopping_lists" ADD COLUMN "mark" text;--> statement-breakpoint
ALTER TABLE "shopping_lists" ADD COLUMN "mark_seq" bigint;
--> statement-breakpoint
-- Eight hex digits. Events from before action ids have one that is the same in every copy of them.
CREATE FUNCTION event_mark(action_id uuid, list_id uuid, seq bigint, at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
  RETURN left(encode(sha256(
    coalesce(uuid_send(action_id), convert_to(concat_ws('.', list_id, seq, wire_time(at)), 'UTF8'))), 'hex'), 8);
--> statement-breakpoint
-- The last event of a list whose mark was not kept on the list's row.
CREATE POLICY streams_scope ON list_events FOR SELECT
  USING ((SELECT coalesce(current_setting('app.scope', true), '') = 'streams'));
