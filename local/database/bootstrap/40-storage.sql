-- LOCAL STACK ONLY. Rights of the platform's own roles on the storage tables; the rest is in local/storage/bootstrap.sql.
grant all on storage.objects, storage.buckets to postgres, supabase_storage_admin;
