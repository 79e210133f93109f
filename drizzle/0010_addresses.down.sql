DROP TRIGGER users_email_room ON users;
--> statement-breakpoint
DROP FUNCTION users_email_room();
--> statement-breakpoint
DROP FUNCTION email_is_taken(text, uuid, boolean);
--> statement-breakpoint
-- One account per address again: of several the verified one keeps it, else the one made last. The others stay, as
-- features/auth/addresses.ts leaves an account whose address was released.
DO $$
BEGIN
  PERFORM set_config('app.scope', 'system', true);
  UPDATE users u SET email = 'released-' || u.id || '@address.invalid', is_active = false,
    token_epoch = u.token_epoch + 1, session_epoch = u.session_epoch + 1, updated_at = clock_timestamp()
  WHERE EXISTS (
    SELECT FROM users o WHERE o.email = u.email
      AND (o.email_verified, o.created_at, o.id, o.tenant_id) > (u.email_verified, u.created_at, u.id, u.tenant_id));
END $$;
--> statement-breakpoint
ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);
--> statement-breakpoint
DROP INDEX users_tenant_email_key;
--> statement-breakpoint
DROP INDEX users_verified_email_key;
