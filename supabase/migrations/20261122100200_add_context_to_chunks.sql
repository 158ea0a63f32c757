-- What stands above a chunk when it is embedded, so that another model can be given exactly the same text.
alter table ai.chunks add column context text;
alter table private.staged_chunks add column context text;

comment on column ai.chunks.context is
  'What is embedded before the text: the heading it stands under, the header row of its table; empty when nothing is. Null: indexed before this was kept.';
comment on column ai.chunks.embedding_model is
  'Model it was first embedded with. Search compares vectors of the knowledge base''s model, which another may have followed.';
comment on column private.staged_chunks.context is 'As in ai.chunks.';

create function private.embedded_text(text text, context text, meta jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select concat_ws(
    E'\n\n',
    coalesce(
      nullif(embedded_text.context, ''),
      -- Before contexts were kept: the deepest heading, unless the chunk begins with it.
      case
        when embedded_text.context is null
          and strpos(split_part(embedded_text.text, E'\n', 1), embedded_text.meta -> 'heading_path' ->> -1) = 0
        then embedded_text.meta -> 'heading_path' ->> -1
      end
    ),
    embedded_text.text
  );
$$;

comment on function private.embedded_text(text, text, jsonb) is 'What is given to an embedding model for a chunk.';

revoke execute on function private.embedded_text(text, text, jsonb) from public;
grant execute on function private.embedded_text(text, text, jsonb) to service_role;
