DO $$
BEGIN
  IF to_regrole('minimart_app_' || (SELECT oid FROM pg_database WHERE datname = current_database())) IS NOT NULL THEN
    EXECUTE 'REVOKE DELETE ON items FROM minimart_app_' || (SELECT oid FROM pg_database WHERE datname = current_database());
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
