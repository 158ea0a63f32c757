-- Summaries of documents and of nodes, and windows of images, are made at indexing: settings that ask for them count.
create or replace function private.indexing_settings(config jsonb)
returns jsonb
language sql
immutable
set search_path = ''
as $$
  select jsonb_strip_nulls(
    case coalesce(config ->> 'strategy', 'chunk_embed')
      when 'doc2json' then jsonb_build_object(
        'strategy', 'doc2json', 'json_schema', private.indexing_setting(config, 'json_schema'),
        'model', coalesce(private.indexing_setting(config, 'extraction_model'), private.indexing_setting(config, 'model'))
      ) || case
        when private.indexing_setting(config, 'use_images') = 'true' then jsonb_build_object(
          'pages_per_window', coalesce(private.indexing_setting(config, 'pages_per_window'), '3')
        )
        else jsonb_build_object(
          'window_size', coalesce(private.indexing_setting(config, 'window_size'), '4000'),
          'window_overlap', coalesce(private.indexing_setting(config, 'window_overlap'), '200')
        )
      end
      else jsonb_build_object(
        'chunk_size', coalesce(config ->> 'chunk_size', '400'),
        'overlap', coalesce(config ->> 'overlap', config ->> 'chunk_overlap', '50')
      ) || case config ->> 'strategy'
        when 'page_index' then jsonb_build_object(
          'strategy', 'page_index', 'model', private.indexing_setting(config, 'model'),
          'summaries', coalesce(private.indexing_setting(config, 'if_add_node_summary'), '"yes"')
        )
        when 'graph_index' then jsonb_build_object(
          'strategy', 'graph_index',
          'model', coalesce(private.indexing_setting(config, 'enrichment_model'), private.indexing_setting(config, 'model')),
          'summaries', nullif(private.indexing_setting(config, 'if_add_node_summary'), '"no"')
        )
        -- Whole documents are made of the same chunks, at the search; a summary is one more.
        when 'full_document' then jsonb_build_object('summary_model', private.indexing_setting(config, 'summary_model'))
        else '{}'
      end
    end
  );
$$;
