-- What the worker may do about page images, with the secret key: each write carries the lease it was given.
create function ai.claim_page_rendering(source_id uuid, worker text, max_pages int, lease_seconds int default 60)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  earlier private.page_renderings;
  claimed private.page_renderings;
  source ai.sources;
begin
  select * into earlier
  from private.page_renderings
  where page_renderings.source_id = claim_page_rendering.source_id
    and (
      page_renderings.status = 'pending'
      or (page_renderings.status = 'rendering' and page_renderings.lease_expires_at < now())
    )
  for update;
  if earlier.source_id is null then
    return null;
  end if;
  perform private.remove_unlisted_page_images(earlier);
  select * into source from ai.sources where sources.id = claim_page_rendering.source_id;
  update private.page_renderings
  set
    status = 'rendering', reason_code = null, attempts = page_renderings.attempts + 1, next_retry_at = null,
    folder = gen_random_uuid(), page_limit = least(greatest(claim_page_rendering.max_pages, 1), greatest(coalesce(source.page_count, 1), 1), 2000),
    lease_token = gen_random_uuid(), leased_by = claim_page_rendering.worker,
    lease_expires_at = now() + make_interval(secs => least(greatest(claim_page_rendering.lease_seconds, 1), 600))
  where page_renderings.source_id = claim_page_rendering.source_id
  returning * into claimed;
  return jsonb_build_object(
    'lease_token', claimed.lease_token, 'source_id', claimed.source_id, 'tenant_id', claimed.tenant_id,
    'size_bytes', source.size_bytes, 'content_hash', source.content_hash, 'storage_path', source.storage_path,
    'image_paths', array(
      select private.page_image_path(claimed.tenant_id, claimed.source_id, claimed.folder, pages.page)
      from generate_series(1, claimed.page_limit) as pages (page)
      order by pages.page
    ),
    'attempts', claimed.attempts
  );
end;
$$;

comment on function ai.claim_page_rendering(uuid, text, int, int) is
  'Ledger: takes the lease on the pages of a source that wait to be rendered, or whose lease has run out; image_paths: where the image of page 1, 2, ... goes, for at most max_pages (to 2000) pages. Null when there is nothing to do or somebody else is at it.';

create function ai.renew_page_rendering_lease(source_id uuid, lease_token uuid, lease_seconds int default 60)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update private.page_renderings
  set lease_expires_at = now() + make_interval(secs => least(greatest(renew_page_rendering_lease.lease_seconds, 1), 600))
  where page_renderings.source_id = renew_page_rendering_lease.source_id
    and page_renderings.lease_token = renew_page_rendering_lease.lease_token;
  return found;
end;
$$;

comment on function ai.renew_page_rendering_lease(uuid, uuid, int) is 'Ledger: puts off the end of a lease; false when it is lost.';

create function ai.finish_page_rendering(source_id uuid, lease_token uuid, images jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  source ai.sources;
  rendering private.page_renderings;
  listed jsonb;
begin
  -- The source before the rendering, the order in which extraction takes these locks.
  select * into source from ai.sources where sources.id = finish_page_rendering.source_id for update;
  select * into rendering
  from private.page_renderings
  where page_renderings.source_id = finish_page_rendering.source_id
    and page_renderings.lease_token = finish_page_rendering.lease_token
  for update;
  if rendering.source_id is null then
    return false;
  end if;
  select
    jsonb_agg(
      jsonb_build_object(
        'storage_path', private.page_image_path(rendering.tenant_id, rendering.source_id, rendering.folder, image.page),
        'page', image.page, 'format', 'png',
        'metadata', jsonb_build_object('width', image.width, 'height', image.height, 'dpi', image.dpi)
      )
      order by image.page
    )
  into listed
  from jsonb_to_recordset(finish_page_rendering.images) as image (page int, width int, height int, dpi int)
  where image.page between 1 and rendering.page_limit;
  if listed is null or jsonb_array_length(listed) <> jsonb_array_length(finish_page_rendering.images)
    or (select count(distinct entry ->> 'page') from jsonb_array_elements(listed) as entry) <> jsonb_array_length(listed)
  then
    raise exception 'images must be different pages of the claim, at least one' using errcode = '22023';
  end if;
  -- A download of one of these may be under way.
  perform private.queue_object_removal(private.listed_page_images(source.derivatives), now() + interval '10 minutes');
  update ai.sources
  set
    derivatives = sources.derivatives || jsonb_build_object('image', listed),
    auto_metadata = sources.auto_metadata
      || jsonb_build_object('page_images', jsonb_build_object('status', 'rendered', 'count', jsonb_array_length(listed)))
  where sources.id = source.id;
  update private.page_renderings
  set
    status = 'rendered', folder = null, page_limit = null, lease_token = null, leased_by = null, lease_expires_at = null
  where page_renderings.source_id = rendering.source_id;
  return true;
end;
$$;

comment on function ai.finish_page_rendering(uuid, uuid, jsonb) is
  'Ledger: lists the images [{"page", "width", "height", "dpi"}] of a source, all of them in place, instead of those listed before, which are removed. False when the lease is lost.';

create function ai.fail_page_rendering(source_id uuid, lease_token uuid, status text, reason_code text, next_retry_at timestamptz default null)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  rendering private.page_renderings;
begin
  if fail_page_rendering.status not in ('failed', 'pending') then
    raise exception 'status must be failed or pending' using errcode = '22023';
  end if;
  perform from ai.sources where sources.id = fail_page_rendering.source_id for update;
  select * into rendering
  from private.page_renderings
  where page_renderings.source_id = fail_page_rendering.source_id and page_renderings.lease_token = fail_page_rendering.lease_token
  for update;
  if rendering.source_id is null then
    return false;
  end if;
  perform private.remove_unlisted_page_images(rendering);
  update private.page_renderings
  set
    status = fail_page_rendering.status, reason_code = fail_page_rendering.reason_code, next_retry_at = fail_page_rendering.next_retry_at,
    folder = null, page_limit = null, lease_token = null, leased_by = null, lease_expires_at = null
  where page_renderings.source_id = rendering.source_id;
  if fail_page_rendering.status = 'failed' then
    perform private.note_failed_page_images(rendering.source_id, fail_page_rendering.reason_code);
  end if;
  return true;
end;
$$;

comment on function ai.fail_page_rendering(uuid, uuid, text, text, timestamptz) is
  'Ledger: gives the lease back with the reason; status pending means the queue will retry at next_retry_at. What is listed stays. False when the lease is lost.';

create function private.note_failed_page_images(source_id uuid, reason_code text)
returns void
language sql
set search_path = ''
as $$
  update ai.sources
  set
    auto_metadata = sources.auto_metadata
      || jsonb_build_object('page_images', jsonb_build_object('status', 'failed', 'reason_code', note_failed_page_images.reason_code))
  where sources.id = note_failed_page_images.source_id;
$$;

comment on function private.note_failed_page_images(uuid, text) is 'Says at a source that its pages could not be rendered, and why. Its text has nothing to do with that.';

create function private.live_rendering_jobs()
returns table (source_id text, is_waiting boolean)
language sql
stable
security definer -- the queue is readable by nobody
set search_path = ''
as $$
  select job.data ->> 'id', job.name = 'render_pages' and job.state in ('created', 'retry')
  from pgboss.job
  where job.name in ('render_pages', 'render_pages_dead') and job.state in ('created', 'retry', 'active');
$$;

comment on function private.live_rendering_jobs() is 'Jobs about page images, given up ones too: the source they are about, and whether they wait (now or for a retry).';

create function ai.due_page_renderings()
returns setof uuid
language sql
stable
set search_path = ''
as $$
  select page_renderings.source_id
  from private.page_renderings
  where (
      (page_renderings.status = 'rendering' and page_renderings.lease_expires_at < now())
      or (
        page_renderings.status = 'pending'
        and coalesce(page_renderings.next_retry_at, page_renderings.requested_at) < now() - interval '10 seconds'
      )
    )
    and not exists (
      select from private.live_rendering_jobs() as live
      where live.source_id = page_renderings.source_id::text
        -- The job of a worker that died stays active until its heartbeat is missed; the lease has told us before.
        and (live.is_waiting or page_renderings.status = 'pending')
    )
  limit 500;
$$;

comment on function ai.due_page_renderings() is
  'Ledger: at most 500 sources whose pages wait to be rendered while no job is about them, e.g. after their worker has died. The sweep queues them again.';

create function ai.mark_dead_page_rendering(source_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  rendering private.page_renderings;
begin
  perform from ai.sources where sources.id = mark_dead_page_rendering.source_id for update;
  select * into rendering
  from private.page_renderings
  where page_renderings.source_id = mark_dead_page_rendering.source_id
    and (page_renderings.status = 'pending' or (page_renderings.status = 'rendering' and page_renderings.lease_expires_at < now()))
    -- Somebody asked again meanwhile: that job decides.
    and not exists (
      select from private.live_rendering_jobs() as live
      where live.source_id = mark_dead_page_rendering.source_id::text and live.is_waiting
    )
  for update;
  if rendering.source_id is null then
    return false;
  end if;
  perform private.remove_unlisted_page_images(rendering);
  update private.page_renderings
  set
    status = 'failed', reason_code = 'dead_letter', next_retry_at = null, folder = null, page_limit = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  where page_renderings.source_id = rendering.source_id;
  perform private.note_failed_page_images(rendering.source_id, 'dead_letter');
  return true;
end;
$$;

comment on function ai.mark_dead_page_rendering(uuid) is
  'Ledger: the queue has given it up. Sets failed with reason dead_letter. False when it has ended or been taken up again meanwhile.';

revoke execute on function ai.claim_page_rendering(uuid, text, int, int) from public, anon, authenticated, service_role;
revoke execute on function ai.renew_page_rendering_lease(uuid, uuid, int) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_page_rendering(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.fail_page_rendering(uuid, uuid, text, text, timestamptz) from public, anon, authenticated, service_role;
revoke execute on function private.note_failed_page_images(uuid, text) from public, anon, authenticated, service_role;
revoke execute on function private.live_rendering_jobs() from public, anon, authenticated, service_role;
revoke execute on function ai.due_page_renderings() from public, anon, authenticated, service_role;
revoke execute on function ai.mark_dead_page_rendering(uuid) from public, anon, authenticated, service_role;
grant execute on function ai.claim_page_rendering(uuid, text, int, int) to service_role;
grant execute on function ai.renew_page_rendering_lease(uuid, uuid, int) to service_role;
grant execute on function ai.finish_page_rendering(uuid, uuid, jsonb) to service_role;
grant execute on function ai.fail_page_rendering(uuid, uuid, text, text, timestamptz) to service_role;
grant execute on function private.note_failed_page_images(uuid, text) to service_role;
grant execute on function private.live_rendering_jobs() to service_role;
grant execute on function ai.due_page_renderings() to service_role;
grant execute on function ai.mark_dead_page_rendering(uuid) to service_role;
