DROP POLICY streams_scope ON shopping_lists;
