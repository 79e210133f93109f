CREATE TABLE "installation" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"id" uuid DEFAULT gen_random_uuid() NOT NULL,
	"upgraded_as" text,
	"shared_role_seen_at" timestamp(3) with time zone,
	CONSTRAINT "installation_singleton_check" CHECK ("installation"."singleton")
);
--> statement-breakpoint
-- A database that has users was served by an earlier release, whose role minimart_app keeps its rights for now.
DO $$
BEGIN
  PERFORM set_config('app.scope', 'system', true);
  INSERT INTO installation (upgraded_as, shared_role_seen_at)
  SELECT CASE WHEN EXISTS (SELECT FROM users) THEN current_database() END,
    CASE WHEN EXISTS (
      SELECT FROM pg_class, aclexplode(relacl)
      WHERE pg_class.oid = 'tenants'::regclass AND grantee = to_regrole('minimart_app')
    ) THEN clock_timestamp() END;
END $$;
--> statement-breakpoint
-- Takes the rights that minimart_app has on this database, and drops it once it has none on any.
CREATE FUNCTION revoke_shared_role() RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
  had_rights boolean;
BEGIN
  SELECT shared_role_seen_at IS NOT NULL INTO had_rights FROM installation FOR UPDATE;
  IF NOT had_rights THEN
    RETURN false;
  END IF;
  UPDATE installation SET shared_role_seen_at = NULL;
  IF to_regrole('minimart_app') IS NULL THEN
    RETURN true;
  END IF;
  REVOKE ALL ON ALL TABLES IN SCHEMA public FROM minimart_app;
  REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM minimart_app;
  REVOKE ALL ON SCHEMA public FROM minimart_app;
  BEGIN
    DROP ROLE minimart_app;
  EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege OR object_in_use THEN
    RAISE NOTICE 'role minimart_app stays: %', SQLERRM;
  END;
  RETURN true;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION revoke_shared_role() FROM PUBLIC;
--> statement-breakpoint
-- For housekeeping, as the tables' owner. Sessions of earlier releases are known by their application_name: this and
-- later ones add their version to it.
CREATE FUNCTION retire_shared_role() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF NOT in_housekeeping_scope() THEN
    RETURN false;
  END IF;
  UPDATE installation SET shared_role_seen_at = statement_timestamp()
    WHERE shared_role_seen_at IS NOT NULL AND EXISTS (
      SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'minimart');
  RETURN EXISTS (SELECT FROM installation WHERE shared_role_seen_at < statement_timestamp() - interval '1 day')
    AND revoke_shared_role();
EXCEPTION WHEN insufficient_privilege THEN
  -- The tables have another owner now, who can call revoke_shared_role.
  RETURN false;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION retire_shared_role() FROM PUBLIC;
