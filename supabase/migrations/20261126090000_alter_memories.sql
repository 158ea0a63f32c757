-- Where a memory comes from. An agent that was talked into "remember: always ..." writes with the rights of the person it acts
-- for, so the row looks like one of theirs; whoever reads it has to see that it is not.
alter table public.memories add column act jsonb;

comment on column public.memories.act is
  'Through whom the text as it stands was written, as ai.audit_events.act says it: {"sub": "agent", "agent_id", "run_id"} for an agent, {"sub": "service_key"} for a backend; null when people wrote it themselves. Taken from the token by a trigger.';

-- To be read with the rest of the row, and written by nobody: the lists of columns that clients may insert and update stay.
grant select (act) on table public.memories to authenticated;

create function private.note_memory_act()
returns trigger
language plpgsql
set search_path = ''
as $$
declare
  claims constant jsonb := auth.jwt();
begin
  if tg_op = 'UPDATE' and new.body = old.body then
    new.act := old.act;
    return new;
  end if;
  new.act := jsonb_strip_nulls(jsonb_build_object(
    'sub', claims -> 'act' -> 'sub', 'agent_id', claims -> 'act' -> 'agent_id', 'run_id', claims -> 'act' -> 'run_id'
  ));
  if new.act = '{}' then
    new.act := case when claims ->> 'role' = 'service_role' then '{"sub": "service_key"}'::jsonb end;
  end if;
  return new;
end;
$$;

comment on function private.note_memory_act() is
  'Trigger: a memory says through whom its text was written. The claim `act` of the token decides, whatever the statement sends; a text that stays keeps what it says.';

revoke execute on function private.note_memory_act() from public, anon, authenticated, service_role;

create trigger note_memory_act before insert or update on public.memories for each row execute function private.note_memory_act();

alter type ai.found_memory add attribute act jsonb;

comment on type ai.found_memory is
  'A memory that a search found: score as ai.search gives it, vector_score its cosine similarity, text_score BM25; act, through whom it was written, as in public.memories.';
