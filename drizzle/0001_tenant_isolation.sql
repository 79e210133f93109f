-- Row-level security, the application's role and the functions statements share.
--
-- The application's role is shared by all databases of a server, so it may exist already, or be made by another
-- instance at this very moment, or be out of reach of the user who migrates (a managed server without CREATEROLE).
-- In the last case the program runs as that user, to whom FORCE ROW LEVEL SECURITY applies as well.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'minimart_app') THEN
    CREATE ROLE minimart_app NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
  RAISE NOTICE 'role minimart_app was not created here: %', SQLERRM;
END $$;
--> statement-breakpoint
-- A block of its own, so that it also runs where another database's migration made the role first. From PostgreSQL 16
-- on whoever makes a role is its member, yet may not SET ROLE to it until granted.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'minimart_app') THEN
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
-- The tenant of the running statement; NULL, which equals nothing, when none was set.
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('app.tenant_id', true), '')::uuid;
--> statement-breakpoint
CREATE FUNCTION in_system_scope() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
  RETURN coalesce(current_setting('app.scope', true), '') = 'system';
--> statement-breakpoint
-- RFC 3339 in UTC with milliseconds, as every time on the wire is written.
CREATE FUNCTION wire_time(moment timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
--> statement-breakpoint
-- The next `amount` fractional-index keys after `last` (NULL: of an empty list), as generateKeyBetween(last, NULL) of
-- the fractional-indexing library makes them: the integer part, whose head letter tells its length, counted up.
-- Where no larger integer exists, the fraction moves half-way to its end instead, past the digits that are at theirs.
CREATE FUNCTION positions_after(last text, amount integer) RETURNS TABLE (ordinal integer, key text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  digits CONSTANT text := '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  head integer;
  whole text;
  place integer;
  value integer;
BEGIN
  key := last;
  FOR step IN 1..amount LOOP
    ordinal := step;
    IF key IS NULL THEN
      key := 'a0';
    ELSE
      head := ascii(key);
      whole := left(key, CASE WHEN head >= 97 THEN head - 95 ELSE 92 - head END);
      place := length(whole);
      LOOP
        EXIT WHEN place = 1;
        value := strpos(digits, substr(whole, place, 1));
        IF value < 62 THEN
          whole := overlay(whole PLACING substr(digits, value + 1, 1) FROM place FOR 1);
          EXIT;
        END IF;
        whole := overlay(whole PLACING '0' FROM place FOR 1);
        place := place - 1;
      END LOOP;
      IF place > 1 THEN
        key := whole;
      ELSIF head = 122 THEN
        place := length(whole) + 1;
        WHILE substr(key, place, 1) = 'z' LOOP
          place := place + 1;
        END LOOP;
        -- Past the end strpos finds the empty text at 1, the digit 0. Half of an odd distance is rounded up.
        value := strpos(digits, substr(key, place, 1)) - 1;
        key := left(key, place - 1) || substr(digits, (value + 63) / 2 + 1, 1);
      ELSIF head = 90 THEN
        key := 'a0';
      ELSIF head > 96 THEN
        key := chr(head + 1) || repeat('0', length(whole));
      ELSE
        key := chr(head + 1) || repeat('0', length(whole) - 2);
      END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
--> statement-breakpoint
DO $$
DECLARE
  entry record;
BEGIN
  FOR entry IN
    SELECT * FROM (VALUES
      ('tenants', 'id', true),
      ('users', 'tenant_id', true),
      ('revocations', 'tenant_id', true),
      ('shopping_lists', 'tenant_id', false),
      ('list_members', 'tenant_id', false),
      ('items', 'tenant_id', false),
      ('list_events', 'tenant_id', false)
    ) AS t (name, tenant_column, for_system)
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', entry.name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', entry.name);
    EXECUTE format('CREATE POLICY own_tenant ON %I USING (%I = (SELECT current_tenant()))', entry.name, entry.tenant_column);
    IF entry.for_system THEN
      EXECUTE format('CREATE POLICY system_scope ON %I USING ((SELECT in_system_scope()))', entry.name);
    END IF;
  END LOOP;
END $$;
--> statement-breakpoint
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'minimart_app') THEN
    GRANT USAGE ON SCHEMA public TO minimart_app;
    GRANT SELECT, INSERT, UPDATE ON tenants, users, revocations, shopping_lists, items TO minimart_app;
    GRANT DELETE ON revocations TO minimart_app;
    GRANT SELECT, INSERT, UPDATE, DELETE ON list_members, store_entries TO minimart_app;
    GRANT SELECT, INSERT ON list_events TO minimart_app;
  END IF;
END $$;
--> statement-breakpoint
SELECT set_config('app.scope', 'system', true);
--> statement-breakpoint
INSERT INTO tenants (id, name, slug) VALUES ('00000000-0000-7000-8000-000000000000', 'MiniMart', 'minimart-platform')
  ON CONFLICT (id) DO NOTHING;
