-- Where raw bytes lie when S3_ENDPOINT is the project's own storage. No policy on storage.objects names it: clients reach
-- the bytes only through presigned URLs that the sources function hands out after the database has said yes.
insert into storage.buckets (id, name, public)
values ('sources', 'sources', false)
on conflict (id) do nothing;
