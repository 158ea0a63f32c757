-- For similarity() in statements of apps, such as the guide's search over memories. ai.search needs no trigram index: one
-- shared by all tenants could not be silent.
create extension if not exists pg_trgm with schema extensions;
