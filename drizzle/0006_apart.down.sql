-- The release before works as the role minimart_app, so that one gets back what the database's own role has.
DO $$
BEGIN
  IF to_regrole('minimart_app') IS NULL THEN
    CREATE ROLE minimart_app NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
  RAISE NOTICE 'role minimart_app was not created here: %', SQLERRM;
END $$;
--> statement-breakpoint
DO $$
BEGIN
  IF to_regrole('minimart_app') IS NULL THEN
    RETURN;
  END IF;
  IF NOT pg_has_role(current_user, 'minimart_app',
                     CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
    EXECUTE format('GRANT minimart_app TO %I', current_user);
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
  RAISE NOTICE 'role minimart_app was not granted here: %', SQLERRM;
END $$;
--> statement-breakpoint
DROP FUNCTION retire_shared_role();
--> statement-breakpoint
DROP FUNCTION revoke_shared_role();
--> statement-breakpoint
DROP TABLE installation;
--> statement-breakpoint
DO $$
DECLARE
  own text := 'minimart_app_' || (SELECT oid FROM pg_database WHERE datname = current_database());
BEGIN
  IF to_regrole('minimart_app') IS NOT NULL THEN
    GRANT USAGE ON SCHEMA public TO minimart_app;
    GRANT SELECT ON schema_migrations TO minimart_app;
    GRANT SELECT, INSERT, UPDATE ON tenants, shopping_lists, items TO minimart_app;
    GRANT SELECT, INSERT, UPDATE, DELETE ON users, revocations, list_members, store_entries TO minimart_app;
    GRANT SELECT, INSERT, DELETE ON list_events TO minimart_app;
    GRANT SELECT, INSERT ON audit_log TO minimart_app;
    GRANT EXECUTE ON FUNCTION delete_audit_entries(timestamptz, integer) TO minimart_app;
  END IF;
  IF to_regrole(own) IS NOT NULL THEN
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', own);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM %I', own);
    EXECUTE format('REVOKE ALL ON SCHEMA public FROM %I', own);
  END IF;
END $$;
