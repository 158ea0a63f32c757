-- Extensions live in `extensions`, as on hosted Supabase. `ai` is exposed through the Data API; `private` never is: it
-- holds caller lookups, definer cores, triggers and the search index that policies and RPCs reach by full name.
create schema if not exists extensions;
create extension if not exists vector with schema extensions;
create extension if not exists pgcrypto with schema extensions;

create schema ai;
create schema private;

comment on schema ai is 'Sources, knowledge bases, agents, sessions and runs. Exposed through PostgREST; row-level security on everything.';
comment on schema private is 'Caller lookups, definer cores, triggers and the search index. Never exposed through PostgREST.';

revoke all on schema ai, private from public;
grant usage on schema ai to anon, authenticated, service_role;
-- Policies call functions of `private` with the caller's rights, so the caller needs USAGE; each function has its own grant.
grant usage on schema private to authenticated, service_role, supabase_auth_admin;
