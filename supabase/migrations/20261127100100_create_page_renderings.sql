-- Images of the pages of a document are made after its text, by a job of their own. The row says whether they are wanted, who is
-- at it, and where an attempt may have left objects that nobody has listed yet. What is listed stands in ai.sources.derivatives.
create table private.page_renderings (
  tenant_id uuid not null,
  source_id uuid not null,
  status text not null default 'pending',
  reason_code text,
  attempts int not null default 0,
  next_retry_at timestamptz,
  folder uuid,
  page_limit int,
  lease_token uuid,
  leased_by text,
  lease_expires_at timestamptz,
  requested_at timestamptz not null default now(),
  constraint page_renderings_pkey primary key (source_id),
  constraint page_renderings_source_fkey foreign key (tenant_id, source_id) references ai.sources (tenant_id, id) on delete cascade,
  constraint page_renderings_status_is_known check (status in ('pending', 'rendering', 'rendered', 'failed')),
  constraint page_renderings_lease_matches_status check ((status = 'rendering') = (lease_token is not null)),
  constraint page_renderings_objects_have_a_place check ((folder is null) = (page_limit is null)),
  constraint page_renderings_page_limit_range check (page_limit between 1 and 2000),
  constraint page_renderings_failure_has_a_reason check (status <> 'failed' or reason_code is not null)
);

comment on table private.page_renderings is 'Documents whose pages are wanted as images, and how far that is. Carried out by the job render_pages, which carries the id of the source.';
comment on column private.page_renderings.folder is 'Where the attempt that holds the lease stores its objects, until they are listed; another attempt has another folder.';
comment on column private.page_renderings.page_limit is 'The attempt stores at most the objects 1.png to this number.';
comment on column private.page_renderings.lease_token is 'Fencing token of the worker that is at it; every write of its must carry it.';

create index page_renderings_tenant_id_source_id_idx on private.page_renderings (tenant_id, source_id);
-- What the sweep looks for.
create index page_renderings_unfinished_idx on private.page_renderings (status, lease_expires_at) where status in ('pending', 'rendering');

alter table private.page_renderings enable row level security;
alter table private.page_renderings force row level security;
revoke all on table private.page_renderings from anon, authenticated, service_role;
grant select, insert, update, delete on table private.page_renderings to service_role;

create trigger refuse_tenant_change before update on private.page_renderings for each row execute function private.refuse_tenant_change();

select pgboss.create_queue('render_pages_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('render_pages', '{"policy": "short", "retryLimit": 4, "retryDelay": 5, "retryBackoff": true, "retryDelayMax": 300, "expireInSeconds": 1800, "heartbeatSeconds": 10, "deadLetter": "render_pages_dead", "notify": true}');

-- Rendering takes a processor for as long as it lasts: one document of a tenant at a time.
insert into private.queue_limits (queue, max_active_per_tenant) values ('render_pages', 1);

create function private.page_image_path(tenant_id uuid, source_id uuid, folder uuid, page int)
returns text
language sql
immutable
set search_path = ''
as $$
  select concat(tenant_id, '/', source_id, '/pages/', folder, '/', page, '.png');
$$;

comment on function private.page_image_path(uuid, uuid, uuid, int) is 'Key of the object of one page: beside the original, below the folder of the attempt that made it.';

create function private.queue_object_removal(storage_paths text[], run_at timestamptz default now())
returns void
language plpgsql
security definer -- the queue and the table of removals are writable by nobody
set search_path = ''
as $$
declare
  removal_id uuid;
begin
  if cardinality(storage_paths) is null or cardinality(storage_paths) = 0 then
    return;
  end if;
  insert into private.object_removals (storage_path, more_paths)
  values (storage_paths[1], storage_paths[2:])
  returning id into removal_id;
  perform private.enqueue('remove_object', jsonb_build_object('id', removal_id), run_at, removal_id::text);
end;
$$;

comment on function private.queue_object_removal(text[], timestamptz) is 'Queues the removal of these objects in the transaction of the caller; none is fine.';

create function private.remove_unlisted_page_images(rendering private.page_renderings)
returns void
language sql
set search_path = ''
as $$
  -- Not at once: what the attempt had under way when it lost its lease may still arrive.
  select private.queue_object_removal(
    array(
      select private.page_image_path(rendering.tenant_id, rendering.source_id, rendering.folder, pages.page)
      from generate_series(1, rendering.page_limit) as pages (page)
    ),
    now() + interval '10 minutes'
  )
  where rendering.folder is not null;
$$;

comment on function private.remove_unlisted_page_images(private.page_renderings) is
  'Queues the removal of every object that the last attempt may have stored and that is not listed; in ten minutes.';

create function private.listed_page_images(derivatives jsonb)
returns text[]
language sql
immutable
set search_path = ''
as $$
  select array(
    select image.entry ->> 'storage_path'
    from jsonb_array_elements(case when jsonb_typeof(derivatives -> 'image') = 'array' then derivatives -> 'image' else '[]' end) as image (entry)
    where image.entry ->> 'storage_path' is not null
  );
$$;

comment on function private.listed_page_images(jsonb) is 'Keys of the page images that the derivatives of a source list.';

create function private.remove_objects_of_rendering()
returns trigger
language plpgsql
security definer -- as queue_object_removal
set search_path = ''
as $$
begin
  perform private.remove_unlisted_page_images(old);
  return null;
end;
$$;

comment on function private.remove_objects_of_rendering() is 'Trigger: a source is deleted while its pages are rendered; what is stored already follows.';

create trigger remove_objects_of_rendering after delete on private.page_renderings
for each row when (old.folder is not null) execute function private.remove_objects_of_rendering();

create function private.remove_page_images_of_source()
returns trigger
language plpgsql
security definer -- as queue_object_removal
set search_path = ''
as $$
begin
  perform private.queue_object_removal(private.listed_page_images(old.derivatives));
  return null;
end;
$$;

comment on function private.remove_page_images_of_source() is 'Trigger: deleting a source, by whatever way, queues the removal of its page images in the same transaction.';

create trigger remove_page_images_of_source after delete on ai.sources
for each row when (old.derivatives -> 'image' is distinct from '[]') execute function private.remove_page_images_of_source();

create function private.request_page_images(source_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
declare
  earlier private.page_renderings;
begin
  select * into earlier from private.page_renderings where page_renderings.source_id = request_page_images.source_id for update;
  perform private.remove_unlisted_page_images(earlier);
  insert into private.page_renderings (tenant_id, source_id)
  select sources.tenant_id, sources.id from ai.sources where sources.id = request_page_images.source_id
  on conflict on constraint page_renderings_pkey do update
  set
    status = 'pending', reason_code = null, attempts = 0, next_retry_at = null, folder = null, page_limit = null,
    lease_token = null, leased_by = null, lease_expires_at = null, requested_at = now();
  perform private.enqueue('render_pages', jsonb_build_object('id', source_id), now(), source_id::text);
end;
$$;

comment on function private.request_page_images(uuid) is 'Wants the pages of a source as images, anew if they are there or in work, and queues the job.';

revoke execute on function private.page_image_path(uuid, uuid, uuid, int) from public, anon, authenticated, service_role;
revoke execute on function private.queue_object_removal(text[], timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.remove_unlisted_page_images(private.page_renderings) from public, anon, authenticated, service_role;
revoke execute on function private.listed_page_images(jsonb) from public, anon, authenticated, service_role;
revoke execute on function private.remove_objects_of_rendering() from public, anon, authenticated, service_role;
revoke execute on function private.remove_page_images_of_source() from public, anon, authenticated, service_role;
revoke execute on function private.request_page_images(uuid) from public, anon, authenticated, service_role;
grant execute on function private.page_image_path(uuid, uuid, uuid, int) to service_role;
grant execute on function private.queue_object_removal(text[], timestamptz) to service_role;
grant execute on function private.remove_unlisted_page_images(private.page_renderings) to service_role;
grant execute on function private.listed_page_images(jsonb) to service_role;
grant execute on function private.request_page_images(uuid) to service_role;
