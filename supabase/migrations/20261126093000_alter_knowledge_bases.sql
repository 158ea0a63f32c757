comment on column ai.knowledge_bases.indexing_config is
  'strategy chunk_embed, or full_document, whose results are whole documents (made so by the functions: ai.search gives passages of both); chunk_size and overlap in tokens.';
