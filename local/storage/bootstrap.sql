-- LOCAL STACK ONLY. What the platform's storage schema has beyond the tables of @supabase/lite. Run after those tables
-- exist and before the migrations; may be run again.

alter table storage.buckets
  add column if not exists avif_autodetection boolean default false,
  add column if not exists type text not null default 'STANDARD';

-- Lists are in byte order; the unique constraint orders by the collation of the database.
create index if not exists objects_bucket_id_name_c_idx on storage.objects (bucket_id, name collate "C");

create or replace function storage.update_updated_at_column() returns trigger
language plpgsql
as $$
begin
  new.updated_at = now();
  return new;
end
$$;

drop trigger if exists update_objects_updated_at on storage.objects;
create trigger update_objects_updated_at before update on storage.objects
for each row execute function storage.update_updated_at_column();

-- As on the platform, SQL does not delete objects or buckets: their bytes would stay behind.
create or replace function storage.protect_delete() returns trigger
language plpgsql
as $$
begin
  if coalesce(current_setting('storage.allow_delete_query', true), '') <> 'true' then
    raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
      using errcode = '42501', hint = 'This prevents data loss through objects without rows.';
  end if;
  return null;
end
$$;

drop trigger if exists protect_objects_delete on storage.objects;
create trigger protect_objects_delete before delete on storage.objects
for each statement execute function storage.protect_delete();

drop trigger if exists protect_buckets_delete on storage.buckets;
create trigger protect_buckets_delete before delete on storage.buckets
for each statement execute function storage.protect_delete();

grant usage on schema storage to anon, authenticated, service_role;
grant all on storage.objects, storage.buckets to anon, authenticated, service_role;
grant execute on all functions in schema storage to anon, authenticated, service_role;
