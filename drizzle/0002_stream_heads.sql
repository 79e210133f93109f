-- Live streams of all tenants are compared with their lists in one query: this scope may read lists' rows and nothing
-- else, and may change nothing.
CREATE POLICY streams_scope ON shopping_lists FOR SELECT
  USING ((SELECT coalesce(current_setting('app.scope', true), '') = 'streams'));
