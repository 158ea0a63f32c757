import { z } from 'zod'
import { ERROR_STATUS } from '../_shared/errors.ts'
import type { ErrorCode } from '../_shared/errors.ts'
import { PRIORITIES } from '../_shared/priorities.ts'
import type { DocumentedRoute } from './openapi-route.ts'
import { ROUTES } from './openapi-routes.ts'
import { errorShape } from './openapi-shapes.ts'

type Json = Record<string, unknown>

/** Codes that every route with a caller can answer. */
const ALWAYS: ErrorCode[] = [
  'unauthenticated',
  'forbidden',
  'tenant_required',
  'rate_limited',
  'internal',
  'unavailable',
  'upstream_timeout',
]
const WITH_JSON_BODY: ErrorCode[] = ['invalid_request', 'payload_too_large', 'unsupported_media_type']

const HEADERS: Record<string, Json> = {
  TenantId: {
    name: 'x-tenant-id',
    in: 'header',
    schema: { type: 'string', format: 'uuid' },
    description: 'Narrows the call to one tenant. It never grants anything.',
  },
  ActAsUser: {
    name: 'x-act-as-user',
    in: 'header',
    schema: { type: 'string', format: 'uuid' },
    description: 'Service-key callers only: the call has the rights of this member of the tenant.',
  },
  RequestId: {
    name: 'x-request-id',
    in: 'header',
    schema: { type: 'string' },
    description: 'Comes back in the answer and in the log.',
  },
  IdempotencyKey: {
    name: 'idempotency-key',
    in: 'header',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
    description: 'A request that is sent again with its key gets the first answer and has no second effect.',
  },
}

const headerReferences = (method: string) =>
  Object.keys(HEADERS)
    .filter((name) => name !== 'IdempotencyKey' || method === 'post')
    .map((name) => ({ $ref: `#/components/parameters/${name}` }))

/** Turns zod schemas into JSON Schema; those with an id are collected as components and referred to. */
function createSchemas() {
  const components: Record<string, Json> = {}
  return {
    components,
    convert(schema: z.ZodType, io: 'input' | 'output'): Json {
      const converted = z.toJSONSchema(schema, {
        io,
        target: 'draft-2020-12',
        unrepresentable: 'any',
        // The format says it; the pattern behind it is long and nobody reads it.
        override: ({ jsonSchema }) => {
          if (jsonSchema.format === 'uuid' || jsonSchema.format === 'date-time') delete jsonSchema.pattern
          // Answers may grow, and may carry warnings.
          if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
        },
      }) as Json
      const { $schema: _dialect, $defs, ...rest } = converted
      for (const [name, definition] of Object.entries(Object($defs) as Record<string, Json>)) {
        const { $schema: _inner, id: _id, ...plain } = definition
        components[name] = moveRefs(plain) as Json
      }
      const id = schema.meta()?.id
      const { id: _own, ...body } = moveRefs(rest) as Json
      if (id === undefined) return body
      if (body['$ref'] === undefined) components[id] = body
      return { $ref: `#/components/schemas/${id}` }
    },
  }
}

/** References point to `$defs` of one schema; in the document, shared ones stand among the components. */
function moveRefs(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(moveRefs)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) =>
      key === '$ref' && typeof part === 'string'
        ? [key, part.replace('#/$defs/', '#/components/schemas/')]
        : [key, moveRefs(part)],
    ),
  )
}

type Schemas = ReturnType<typeof createSchemas>

function requestBody(route: DocumentedRoute, schemas: Schemas): Json {
  if (route.body === undefined) return {}
  const required = route.isBodyOptional !== true
  if (route.body !== 'upload') {
    return {
      requestBody: { required, content: { 'application/json': { schema: schemas.convert(route.body, 'input') } } },
    }
  }
  const properties = {
    file: { type: 'string', contentMediaType: 'application/octet-stream' },
    name: { type: 'string' },
    metadata: { type: 'string', description: 'A JSON object.' },
    extraction_model: { type: 'string' },
    priority: { type: 'string', enum: PRIORITIES },
  }
  const schema = { type: 'object', properties, required: ['file'] }
  return { requestBody: { required, content: { 'multipart/form-data': { schema } } } }
}

function answer(route: DocumentedRoute, schemas: Schemas): Json {
  if (route.answer === null) return { description: 'Done' }
  if (route.answer === 'bytes') {
    return { description: 'The bytes, as an attachment', content: { 'application/octet-stream': {} } }
  }
  if (route.answer === 'events') {
    const schema = { type: 'string', description: 'Lines `data: {JSON}`; the key `event` says what each is.' }
    return { description: 'Events; the last one is `complete`', content: { 'text/event-stream': { schema } } }
  }
  return {
    description: route.status < 400 ? 'Done' : 'Refused',
    content: { 'application/json': { schema: schemas.convert(route.answer, 'output') } },
  }
}

/** What a route answers when it refuses, by status; what every route can answer is its `default`. */
function refusals(route: DocumentedRoute): Record<string, Json> {
  const byStatus: Record<string, ErrorCode[]> = {}
  const codes = [
    ...(route.body === undefined || route.body === 'upload' ? [] : WITH_JSON_BODY),
    ...(route.method === 'post' && route.status === 201 ? (['conflict', 'idempotency_conflict'] as const) : []),
    ...(route.errors ?? []),
  ]
  for (const code of new Set(codes)) (byStatus[route.statuses?.[code] ?? ERROR_STATUS[code]] ??= []).push(code)
  delete byStatus[route.status]
  const refusal = (some: readonly string[]) => ({
    $ref: '#/components/responses/Refusal',
    description: some.toSorted().join(', '),
  })
  return {
    ...Object.fromEntries(Object.entries(byStatus).map(([status, some]) => [status, refusal(some)])),
    ...(route.isPublic ? {} : { default: refusal(ALWAYS) }),
  }
}

function operation(route: DocumentedRoute, schemas: Schemas): Json {
  const inPath = [...route.path.matchAll(/\{([a-z_]+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
  const inQuery = Object.entries(route.query ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    schema: schemas.convert(schema, 'input'),
  }))
  return {
    tags: [route.tag],
    summary: route.summary,
    operationId: `${route.method}${route.path.replace(/[^A-Za-z0-9]+(.)?/g, (_, next?: string) => next?.toUpperCase() ?? '')}`,
    ...(route.isPublic ? { security: [] } : {}),
    parameters: [...inPath, ...inQuery, ...(route.isPublic ? [] : headerReferences(route.method))],
    ...requestBody(route, schemas),
    responses: {
      [route.status]: answer(route, schemas),
      ...(route.accepted === undefined ? {} : { 202: answer({ ...route, answer: route.accepted }, schemas) }),
      ...refusals(route),
    },
  }
}

let made: Json | null = null

/** The OpenAPI 3.1 document of the agent API, made once per process from the schemas by which requests are checked. */
export function openApiDocument(): Json {
  return (made ??= makeDocument())
}

function makeDocument(): Json {
  const schemas = createSchemas()
  schemas.convert(errorShape, 'output')
  const paths: Record<string, Json> = {}
  for (const route of ROUTES) {
    paths[`/api${route.path}`] = { ...paths[`/api${route.path}`], [route.method]: operation(route, schemas) }
  }
  const { components } = schemas
  return {
    openapi: '3.1.0',
    info: {
      title: 'Bulkhead agent API',
      version: '1.0.0',
      description:
        'Agents, runs, tools, sources and knowledge bases. Every call acts with the rights of one person, or of the ' +
        'trusted backend, in one tenant. Fields and settings that have no effect are named in `warnings` of the ' +
        'answer; with the header `Prefer: handling=strict` they are refused instead, before anything is done.',
    },
    servers: [{ url: '/functions/v1' }],
    security: [{ bearer: [], apikey: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'A user’s access token, or a secret key.' },
        apikey: { type: 'apiKey', in: 'header', name: 'apikey', description: 'The publishable or a secret key.' },
      },
      parameters: HEADERS,
      responses: {
        Refusal: {
          description: 'Refused',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
        },
      },
      schemas: Object.fromEntries(
        Object.keys(components)
          .toSorted()
          .map((name) => [name, components[name]]),
      ),
    },
  }
}
