-- Settings of a knowledge base can be changed at any time; what is indexed stays as it was until it is indexed anew.
create function private.indexing_settings(config jsonb)
returns jsonb
language sql
immutable
set search_path = ''
as $$
  select jsonb_strip_nulls(
    case coalesce(config ->> 'strategy', 'chunk_embed')
      when 'doc2json' then jsonb_build_object(
        'strategy', 'doc2json', 'json_schema', config -> 'json_schema', 'model', coalesce(config ->> 'extraction_model', config ->> 'model'),
        'window_size', coalesce(config ->> 'window_size', '4000'), 'window_overlap', coalesce(config ->> 'window_overlap', '200')
      )
      else jsonb_build_object(
        'chunk_size', coalesce(config ->> 'chunk_size', '400'),
        'overlap', coalesce(config ->> 'overlap', config ->> 'chunk_overlap', '50')
      ) || case config ->> 'strategy'
        when 'page_index' then jsonb_build_object(
          'strategy', 'page_index', 'model', coalesce(config ->> 'model', config #>> '{extra,model}'),
          'summaries', coalesce(config ->> 'if_add_node_summary', config #>> '{extra,if_add_node_summary}', 'yes')
        )
        when 'graph_index' then jsonb_build_object('strategy', 'graph_index', 'model', coalesce(config ->> 'enrichment_model', config ->> 'model', config #>> '{extra,model}'))
        -- Whole documents are made of the same chunks, at the search.
        else '{}'
      end
    end
  );
$$;

comment on function private.indexing_settings(jsonb) is
  'Of an indexing_config, what decides how a source is indexed: two that give the same need no indexing anew. What is absent counts as its default.';

create function ai.drifted_sources(knowledge_base_id uuid, id_limit int default 500)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'count', count(*), 'indexed_source_ids',
    coalesce(jsonb_agg(drifted.id order by drifted.place) filter (where drifted.place <= drifted_sources.id_limit), '[]')
  )
  from (
    select indexed_sources.id, row_number() over (order by indexed_sources.created_at, indexed_sources.id) as place
    from ai.knowledge_bases
    join ai.indexed_sources
      on indexed_sources.tenant_id = knowledge_bases.tenant_id and indexed_sources.knowledge_base_id = knowledge_bases.id
    where knowledge_bases.id = drifted_sources.knowledge_base_id
      and indexed_sources.index_status = 'indexed'
      and indexed_sources.indexing_config_snapshot <> knowledge_bases.indexing_config
      and private.indexing_settings(indexed_sources.indexing_config_snapshot) <> private.indexing_settings(knowledge_bases.indexing_config)
  ) as drifted;
$$;

comment on function ai.drifted_sources(uuid, int) is
  'How many of the indexed sources that the caller can see were indexed with other settings than the knowledge base has now, and the ids of the first of them.';

revoke execute on function private.indexing_settings(jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.drifted_sources(uuid, int) from public, anon, authenticated, service_role;
grant execute on function private.indexing_settings(jsonb) to authenticated;
grant execute on function ai.drifted_sources(uuid, int) to authenticated;
