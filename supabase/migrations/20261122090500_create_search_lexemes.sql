-- The inverted index. Under row-level security an index on words serves no condition of the caller's own (its operators are
-- not leakproof); it does serve one that stands in the policy. So the policy asks for the question, too: without one the
-- table is empty, with one it holds what the caller may see of the answer.
create function private.search_terms(part int)
returns bigint[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return nullif(current_setting('bulkhead.search_terms_' || part, true), '')::bigint[];
end;
$$;

comment on function private.search_terms(int) is
  'Keys that an item must have one of, in part 1 and in part 2 alike: set by the search for its own transaction. Null when nothing is searched.';

create table private.search_lexemes (
  item_id uuid primary key,
  tenant_id uuid not null,
  segment_id int not null,
  source_id uuid,
  term_count int not null,
  keys bigint[] not null,
  lexemes tsvector not null,
  constraint search_lexemes_segment_fkey foreign key (tenant_id, segment_id) references private.search_segments (tenant_id, id) on delete cascade
)
-- Rows stay in one piece up to a page: ranking reads hundreds of them.
with (toast_tuple_target = 8160);
alter table private.search_lexemes alter column keys set storage external, alter column lexemes set storage external;

comment on table private.search_lexemes is 'Words of chunks and memories. Written by triggers; readable only in the course of a search.';
comment on column private.search_lexemes.term_count is 'Number of lexeme positions: the document length of BM25.';
comment on column private.search_lexemes.keys is 'private.search_keys_of() of the item.';
comment on column private.search_lexemes.source_id is 'Of a chunk; null for a memory.';

-- No pending list: one that all tenants share would make everybody's search do everybody's work.
create index search_lexemes_keys_idx on private.search_lexemes using gin (keys) with (fastupdate = off);
create index search_lexemes_segment_id_idx on private.search_lexemes (segment_id);

alter table private.search_lexemes enable row level security;
alter table private.search_lexemes force row level security;
revoke all on table private.search_lexemes from anon, authenticated, service_role;
grant select on table private.search_lexemes to authenticated, service_role;

create policy "people find what they ask for in their segments" on private.search_lexemes
for select to authenticated
using (
  -- Not an index condition, on purpose: keys are per segment, and the planner must not prefer an index that ignores them.
  segment_id + 0 = any ((select private.caller_segment_ids())::int[])
  and keys && (select private.search_terms(1))
  and keys && (select private.search_terms(2))
);

create table private.term_statistics (
  segment_id int not null,
  key bigint not null,
  tenant_id uuid not null,
  item_count int not null,
  constraint term_statistics_pkey primary key (segment_id, key),
  constraint term_statistics_segment_fkey foreign key (tenant_id, segment_id) references private.search_segments (tenant_id, id) on delete cascade,
  constraint term_statistics_item_count_is_no_debt check (item_count >= 0)
)
with (fillfactor = 80);

comment on table private.term_statistics is 'In how many items of a segment a word stands: the document frequency of BM25. Exact at every moment.';
comment on column private.term_statistics.key is 'hashtextextended(word, segment_id), as in search_lexemes.keys.';

alter table private.term_statistics enable row level security;
alter table private.term_statistics force row level security;
revoke all on table private.term_statistics from anon, authenticated, service_role;
grant select on table private.term_statistics to authenticated, service_role;

create policy "people count words in their segments" on private.term_statistics
for select to authenticated
using (segment_id = any ((select private.caller_segment_ids())::int[]));

create function private.count_lexemes()
returns trigger
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
declare
  affected int[];
begin
  -- The row of the segment is locked first: writers of one segment take turns and cannot block each other in a circle.
  if tg_op = 'INSERT' then
    affected := array(select distinct added.segment_id from added);
  else
    affected := array(select distinct removed.segment_id from removed);
  end if;
  perform from private.search_segments where search_segments.id = any (affected) order by search_segments.id for update;

  if tg_op = 'INSERT' then
    update private.search_segments
    set item_count = search_segments.item_count + counted.items, term_count = search_segments.term_count + counted.terms
    from (select added.segment_id, count(*) as items, sum(added.term_count) as terms from added group by added.segment_id) as counted
    where search_segments.id = counted.segment_id;

    insert into private.term_statistics (segment_id, key, tenant_id, item_count)
    select added.segment_id, words.key, added.tenant_id, count(*)
    from added
    cross join lateral (
      select hashtextextended(entry.lexeme, added.segment_id) as key from unnest(added.lexemes) as entry
    ) as words
    group by added.segment_id, words.key, added.tenant_id
    order by added.segment_id, words.key
    on conflict on constraint term_statistics_pkey do update set item_count = term_statistics.item_count + excluded.item_count;
  else
    update private.search_segments
    set item_count = search_segments.item_count - counted.items, term_count = search_segments.term_count - counted.terms
    from (select removed.segment_id, count(*) as items, sum(removed.term_count) as terms from removed group by removed.segment_id) as counted
    where search_segments.id = counted.segment_id;

    with counted as (
      select removed.segment_id, words.key, count(*) as items
      from removed
      cross join lateral (
        select hashtextextended(entry.lexeme, removed.segment_id) as key from unnest(removed.lexemes) as entry
      ) as words
      group by removed.segment_id, words.key
    ),
    emptied as (
      delete from private.term_statistics
      using counted
      where term_statistics.segment_id = counted.segment_id
        and term_statistics.key = counted.key
        and term_statistics.item_count = counted.items
    )
    update private.term_statistics
    set item_count = term_statistics.item_count - counted.items
    from counted
    where term_statistics.segment_id = counted.segment_id
      and term_statistics.key = counted.key
      and term_statistics.item_count <> counted.items;
  end if;
  return null;
end;
$$;

comment on function private.count_lexemes() is 'Trigger: keeps term_statistics and the counts of search_segments equal to what search_lexemes holds.';

revoke execute on function private.search_terms(int) from public;
revoke execute on function private.count_lexemes() from public;
grant execute on function private.search_terms(int) to authenticated, service_role;

create trigger count_added_lexemes after insert on private.search_lexemes referencing new table as added
for each statement execute function private.count_lexemes();
create trigger count_removed_lexemes after delete on private.search_lexemes referencing old table as removed
for each statement execute function private.count_lexemes();

create function private.refuse_update()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception 'rows of % are replaced, not updated', tg_table_name using errcode = '55000';
end;
$$;

comment on function private.refuse_update() is 'Trigger: for tables whose counts are kept at insert and delete only.';

revoke execute on function private.refuse_update() from public;

create trigger refuse_update before update on private.search_lexemes for each row execute function private.refuse_update();
