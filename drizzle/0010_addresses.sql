CREATE UNIQUE INDEX "users_verified_email_key" ON "users" USING btree ("email") WHERE "users"."email_verified";--> statement-breakpoint
CREATE UNIQUE INDEX "users_tenant_email_key" ON "users" USING btree ("email","tenant_id");
--> statement-breakpoint
-- Whether an account may not be made with an address: a verified one has it, or one of the same tenant, or as many as
-- may wait for their owner; those that are deactivated hold up nobody. It sees the users of all tenants, as the tables'
-- owner in the system's scope, and says no more than this, to whoever may insert the account: others are refused later.
CREATE FUNCTION email_is_taken(address text, tenant uuid, is_verified boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  scope CONSTANT text := coalesce(current_setting('app.scope', true), '');
  is_taken boolean;
BEGIN
  IF tenant IS DISTINCT FROM current_tenant() AND NOT in_system_scope() THEN
    RETURN false;
  END IF;
  PERFORM set_config('app.scope', 'system', true);
  is_taken := EXISTS (SELECT FROM users WHERE email = address AND (email_verified OR tenant_id = tenant))
    OR NOT is_verified AND EXISTS (
      SELECT FROM users u JOIN tenants t ON t.id = u.tenant_id AND t.is_active
      WHERE u.email = address AND u.is_active OFFSET 4);
  PERFORM set_config('app.scope', scope, true);
  RETURN is_taken;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION email_is_taken(text, uuid, boolean) FROM PUBLIC;
--> statement-breakpoint
-- Refuses under the name of the constraint that there was, which is what the release before knows. Of two at the same
-- moment neither may see the other: the indexes decide then, and creations over the API queue up.
CREATE FUNCTION users_email_room() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF email_is_taken(NEW.email, NEW.tenant_id, NEW.email_verified) THEN
    RAISE EXCEPTION 'the address is taken' USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_email_key';
  END IF;
  RETURN NEW;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION users_email_room() FROM PUBLIC;
--> statement-breakpoint
CREATE TRIGGER users_email_room BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION users_email_room();
--> statement-breakpoint
ALTER TABLE "users" DROP CONSTRAINT "users_email_key";
