DROP TABLE store_entries, revocations, list_events, items, list_members, shopping_lists, users, tenants;
