alter table ai.knowledge_bases
add column language text not null default 'english',
add column embedding_model text,
add constraint knowledge_bases_language_is_known check (
  language in (
    'arabic', 'armenian', 'basque', 'catalan', 'danish', 'dutch', 'english', 'finnish', 'french', 'german', 'greek', 'hindi',
    'hungarian', 'indonesian', 'irish', 'italian', 'lithuanian', 'nepali', 'norwegian', 'portuguese', 'romanian', 'russian',
    'serbian', 'simple', 'spanish', 'swedish', 'tamil', 'turkish', 'yiddish'
  )
);

comment on column ai.knowledge_bases.language is
  'Text search configuration of its words: stemming and stop words; ''simple'' has neither. Scripts without spaces are recognised by the text itself.';
comment on column ai.knowledge_bases.embedding_model is
  'Model of the vectors that search compares here. Null until the first source is indexed; changed by ai.switch_embedding_model().';

grant insert (language), update (language) on table ai.knowledge_bases to authenticated;

update ai.knowledge_bases
set embedding_model = (
  select indexed_sources.embedding_model
  from ai.indexed_sources
  where indexed_sources.knowledge_base_id = knowledge_bases.id and indexed_sources.indexed_at is not null
  order by indexed_sources.indexed_at desc
  limit 1
);
