-- Mails that still wait are lost: whoever goes back stops the service first, which sends them.
DROP TABLE mail_outbox;
--> statement-breakpoint
DROP FUNCTION mail_outbox_room();
--> statement-breakpoint
DROP FUNCTION in_outbox_scope();
