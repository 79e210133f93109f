DO $$
DECLARE
  role CONSTANT text := 'minimart_app_' || (SELECT oid FROM pg_database WHERE datname = current_database());
BEGIN
  IF to_regrole(role) IS NOT NULL THEN
    EXECUTE 'REVOKE DELETE ON items FROM ' || role;
  END IF;
END $$;
--> statement-breakpoint
DROP POLICY housekeeping_read ON items;
--> statement-breakpoint
DROP POLICY housekeeping_delete ON items;
--> statement-breakpoint
DROP POLICY only_housekeeping_deletes ON items;
--> statement-breakpoint
DROP INDEX items_deleted;
