import { z } from 'zod'
import type { ErrorCode } from '../_shared/errors.ts'
import { THING, bad, fields, list, page, route, said } from './openapi-route.ts'
import type { DocumentedRoute } from './openapi-route.ts'
import * as shape from './openapi-shapes.ts'
import { contextHandlerRequest } from './routes/context-handlers.ts'
import { enrichmentRequest, enrichmentRunRequest } from './routes/knowledge-base-enrichment.ts'
import { reindexRequest } from './routes/knowledge-base-indexing.ts'
import { itemsRequest } from './routes/knowledge-base-items.ts'
import { searchRequest } from './routes/knowledge-base-search.ts'
import { addSourceRequest } from './routes/knowledge-base-sources.ts'
import { knowledgeBasePatch, knowledgeBaseRequest } from './routes/knowledge-bases.ts'
import { storageImport, urlImport } from './routes/source-imports.ts'
import { reextractRequest, sourcePatch } from './routes/sources.ts'

const source = route('Sources')
const UPLOAD_ERRORS: ErrorCode[] = [
  'invalid_request',
  'empty_document',
  'unsupported_type',
  'duplicate_source',
  'payload_too_large',
  'storage_failed',
]
const SOURCES: DocumentedRoute[] = [
  source('get', '/sources', 'Lists sources', 200, fields({ sources: z.array(shape.source), ...shape.page }), {
    query: { ...list('created_at', 'name'), status: z.string() },
    errors: bad([]),
  }),
  source('post', '/sources/upload', 'Uploads a file', 201, shape.newSource, { body: 'upload', errors: UPLOAD_ERRORS }),
  source('post', '/sources/import-from-storage', 'Makes a source of a file in storage', 201, shape.newSource, {
    body: storageImport,
    errors: [...UPLOAD_ERRORS, ...THING],
  }),
  source(
    'post',
    '/sources/import-url',
    'Makes sources of web pages',
    201,
    fields({ sources: z.array(z.object({ id: z.uuid(), name: z.string(), url: z.string() })), count: z.int() }),
    { body: urlImport, errors: [...UPLOAD_ERRORS, 'upstream_failed', 'upstream_timeout'] },
  ),
  source('get', '/sources/{id}', 'Reads a source', 200, shape.source, { errors: THING }),
  source('patch', '/sources/{id}', 'Changes name and metadata', 200, shape.source, {
    body: sourcePatch,
    errors: bad(THING),
  }),
  source('delete', '/sources/{id}', 'Deletes a source with its text', 200, said, { errors: THING }),
  source(
    'post',
    '/sources/{id}/reextract',
    'Extracts again, and indexes again where it is indexed',
    200,
    fields({ message: z.string(), task_id: z.string().nullable() }),
    { body: reextractRequest, isBodyOptional: true, errors: bad([...THING, 'not_retryable', 'upload_incomplete']) },
  ),
  source('post', '/sources/{id}/cancel', 'Calls extraction off', 200, said, {
    errors: [...THING, 'conflict', 'upload_incomplete'],
  }),
  source(
    'get',
    '/sources/{id}/page-texts',
    'Reads the text, or one page of it',
    200,
    z.union([
      z.object({ page_texts: z.array(z.string()), count: z.int() }),
      z.object({ text: z.string(), page: z.int(), count: z.int() }),
    ]),
    { query: { page: z.int().describe('From 1.') }, errors: bad(THING) },
  ),
  source('get', '/sources/{id}/download', 'Downloads the file', 200, 'bytes', {
    errors: [...THING, 'object_missing', 'storage_failed'],
  }),
  source('get', '/sources/{id}/derivatives/{type}/download', 'Downloads what was extracted', 200, 'bytes', {
    query: { index: z.int().describe('From 0.') },
    errors: bad([...THING, 'storage_failed']),
  }),
]

const base = route('Knowledge bases')
const KNOWLEDGE_BASES: DocumentedRoute[] = [
  base(
    'get',
    '/knowledge-bases',
    'Lists knowledge bases',
    200,
    fields({ knowledge_bases: z.array(shape.listedKnowledgeBase), ...shape.page }),
    { query: list('created_at', 'name', 'updated_at'), errors: bad([]) },
  ),
  base('post', '/knowledge-bases', 'Creates a knowledge base', 201, shape.newKnowledgeBase, {
    body: knowledgeBaseRequest,
    errors: bad([]),
  }),
  base('get', '/knowledge-bases/{id}', 'Reads a knowledge base', 200, shape.knowledgeBase, { errors: THING }),
  base('patch', '/knowledge-bases/{id}', 'Changes a knowledge base', 200, shape.knowledgeBase, {
    body: knowledgeBasePatch,
    errors: bad(THING),
  }),
  base('delete', '/knowledge-bases/{id}', 'Deletes a knowledge base', 200, said, { errors: [...THING, 'conflict'] }),
  base(
    'get',
    '/knowledge-bases/{id}/sources',
    'Lists the sources of a knowledge base',
    200,
    fields({ items: z.array(shape.indexedSource), ...shape.page }),
    { query: { ...list('created_at', 'name'), status: z.string() }, errors: bad(THING) },
  ),
  base(
    'post',
    '/knowledge-bases/{id}/sources',
    'Adds a source; again: indexes it anew',
    201,
    fields({
      id: z.uuid(),
      knowledge_base_id: z.uuid(),
      source_id: z.uuid(),
      source_name: z.string(),
      index_status: z.string(),
      task_id: z.string().nullable(),
    }),
    { body: addSourceRequest, errors: bad([...THING, 'source_not_extracted']) },
  ),
  base('post', '/knowledge-bases/{id}/sources/{indexed_source_id}/cancel', 'Calls indexing off', 200, said, {
    errors: bad([...THING, 'conflict']),
  }),
  base(
    'delete',
    '/knowledge-bases/{id}/sources/{indexed_source_id}',
    'Takes a source out',
    200,
    fields({ message: z.string(), deleted_indexed_source_id: z.uuid(), kb_id: z.uuid() }),
    { errors: bad(THING) },
  ),
  base(
    'post',
    '/knowledge-bases/{id}/reindex',
    'Indexes sources anew',
    200,
    fields({
      status: z.enum(['started', 'noop']),
      task_ids: z.array(z.string().nullable()),
      task_id: z.string().nullable(),
      knowledge_base_id: z.uuid(),
      count: z.int(),
      scope: z.enum(['all', 'failed', 'selected']),
    }),
    { body: reindexRequest, isBodyOptional: true, errors: bad(THING) },
  ),
  base(
    'post',
    '/knowledge-bases/{id}/build-bm25',
    'Names the job that writes the text index: it is part of indexing, so nothing is begun',
    202,
    fields({
      task_id: z
        .string()
        .nullable()
        .describe('The latest indexing that the caller can see, over or not; null: no source has been indexed.'),
      knowledge_base_id: z.uuid(),
    }),
    { errors: bad(THING) },
  ),
  base(
    'post',
    '/knowledge-bases/{id}/items',
    'Reads the chunks of sources',
    200,
    fields({
      items: z.array(shape.item),
      total: z.int(),
      strategy: z.string(),
      source_ids: z.array(z.uuid()),
    }),
    { body: itemsRequest, errors: bad(THING) },
  ),
  base(
    'get',
    '/knowledge-bases/{id}/indexed-sources/{indexed_source_id}/chunks',
    'Reads the chunks of an indexed source',
    200,
    fields({ chunks: z.array(shape.item), ...shape.page }),
    { query: page, errors: THING },
  ),
  base(
    'get',
    '/knowledge-bases/{id}/available-sources',
    'Lists extracted sources that are not in the knowledge base',
    200,
    fields({ sources: z.array(z.looseObject({ id: z.uuid(), name: z.string() })), ...shape.page }),
    { query: list('created_at', 'name'), errors: bad(THING) },
  ),
  base(
    'post',
    '/knowledge-bases/{id}/search',
    'Searches as the caller may see it; 400 for an unknown knowledge base',
    200,
    z.looseObject({
      results: z.array(shape.searchResult),
      query: z.string(),
      retrieval_method: z.string().describe('As asked or "auto"; "hybrid" where tree_search was not possible.'),
      total_results: z.int(),
      enriched_query: z
        .string()
        .optional()
        .describe('What the vectors were searched for, where a model rewrote the query.'),
      keyword_query: z.string().optional().describe('What the words were searched for then.'),
    }),
    { body: searchRequest, errors: bad(['budget_exceeded', 'upstream_failed', 'upstream_timeout', 'rate_limited']) },
  ),
  base(
    'get',
    '/knowledge-bases/{id}/enrichment',
    'How the knowledge base is enriched; null: not at all',
    200,
    fields({ config: shape.enrichmentConfig.nullable() }),
    { errors: THING },
  ),
  base(
    'put',
    '/knowledge-bases/{id}/enrichment',
    'Sets what a model is asked about each source, and has it asked',
    201,
    fields({ config: shape.enrichmentConfig, re_enrichment_triggered: z.boolean() }),
    { body: enrichmentRequest, errors: bad([...THING, 'conflict', 'insufficient_credits']) },
  ),
  base('delete', '/knowledge-bases/{id}/enrichment', 'Deletes what is asked and all answers', 200, said, {
    errors: [...THING, 'conflict'],
  }),
  base(
    'post',
    '/knowledge-bases/{id}/enrichment/run',
    'Asks again: about all sources, those without an answer, those that failed',
    200,
    fields({
      status: z.string(),
      message: z.string(),
      task_id: z.string().nullable(),
      incremental: z.boolean(),
      retry_failed: z.boolean(),
    }),
    {
      body: enrichmentRunRequest,
      isBodyOptional: true,
      errors: bad([...THING, 'conflict', 'enrichment_needs_model', 'insufficient_credits']),
    },
  ),
  base(
    'get',
    '/knowledge-bases/{id}/enrichment/results',
    'What was answered about the sources that the caller can see',
    200,
    shape.enrichmentResults,
    {
      query: { item_ids: z.string().describe('Ids of sources or of chunks, with commas between.') },
      errors: bad(THING),
    },
  ),
  base(
    'post',
    '/knowledge-bases/{id}/graph-enrichment/run',
    'Indexes anew what has no complete graph; strategy graph_index only',
    200,
    fields({
      status: z.enum(['started', 'noop']),
      message: z.string(),
      task_ids: z.array(z.string().nullable()),
      task_id: z.string().nullable(),
      knowledge_base_id: z.uuid(),
      count: z.int(),
    }),
    { errors: bad([...THING, 'enrichment_needs_model']) },
  ),
  base(
    'get',
    '/knowledge-bases/{id}/graph-enrichment/errors',
    'Passages without entities and why, as far as the caller can see them; strategy graph_index only',
    200,
    fields({ errors: z.array(shape.graphError), ...shape.page }),
    { query: page, errors: bad(THING) },
  ),
  base(
    'get',
    '/config/kb-defaults',
    'What knowledge bases are made with',
    200,
    z.looseObject({ strategies: z.looseObject({}) }),
  ),
]

const handler = route('Context handlers')
const CONTEXT_HANDLERS: DocumentedRoute[] = [
  handler('post', '/context-handlers', 'Searches and stores what was found', 201, shape.contextHandler, {
    body: contextHandlerRequest,
    errors: bad([...THING, 'budget_exceeded', 'rate_limited']),
  }),
  handler(
    'get',
    '/context-handlers',
    'Lists the caller’s stored retrievals',
    200,
    fields({ context_handlers: z.array(shape.contextHandler), ...shape.page }),
    { query: page },
  ),
  handler('get', '/context-handlers/{id}', 'Reads a stored retrieval', 200, shape.contextHandler, { errors: THING }),
]

/** Routes about what agents draw on. */
export const KNOWLEDGE_ROUTES: readonly DocumentedRoute[] = [...SOURCES, ...KNOWLEDGE_BASES, ...CONTEXT_HANDLERS]
