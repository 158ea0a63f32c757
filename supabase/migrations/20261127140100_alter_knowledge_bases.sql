comment on column ai.knowledge_bases.indexing_config is
  'strategy (chunk_embed, full_document, page_index, graph_index or doc2json) and its settings; chunk_size and overlap in tokens. What a strategy makes of chunks, and of results, is made by the functions and the worker: ai.search gives passages of all.';
