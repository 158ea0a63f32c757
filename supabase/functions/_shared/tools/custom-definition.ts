/** What a custom HTTP tool may look like, checked when it is written down: later nobody is there to correct it. */
import { schemaProblem } from '../agent/arguments.ts'
import { AppError } from '../errors.ts'
import { checkHeaders } from '../secrets.ts'
import { isSafePattern } from './safe-pattern.ts'

/** Names that no custom tool may take: a model could not tell them apart. */
export const BUILTIN_TOOL_NAMES: ReadonlySet<string> = new Set([
  'code_execute',
  'database_query',
  'database_write',
  'http_request',
  'knowledge_search',
  'storage_read',
  'storage_write',
  'web_scrape',
  'web_search',
])

/** Argument that is filled in by us after the model has spoken, and that the model neither sees nor writes. */
export const SESSION_TOKEN = 'session_token'

export const HTTP_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
export type HttpMethod = (typeof HTTP_METHODS)[number]

/** Seconds a call may take, unless the tool says otherwise, and at most. */
export const DEFAULT_TIMEOUT_SECONDS = 30
export const MAX_TIMEOUT_SECONDS = 300

/** `ai.tools.config`. Nothing in it is secret. */
export type CustomToolConfig = {
  endpoint: string
  method: HttpMethod
  timeout_seconds: number
  /** Whether the endpoint gets the caller's own token as `Authorization`. */
  forward_user_jwt: boolean
  /** Whether we fill in the argument `session_token`. */
  session_token: boolean
  /**
   * Whether a call may be made again, with the same `Idempotency-Key`, when nobody knows what became of it. Absent: calls
   * with GET may, others may not.
   */
  retry_safe?: boolean
}

/** A tool as somebody wants to define it. */
export type ToolDefinitionInput = { name: string; description?: string | null; input_schema: unknown; config: unknown }

/** A tool whose definition is in order. */
export type CheckedTool = {
  name: string
  input_schema: Record<string, unknown>
  config: CustomToolConfig
  /** `config.headers`, taken out: they are sealed and kept apart. Null when they were not given; empty to have none. */
  headers: Record<string, string> | null
  /** Fields of `config` that mean nothing here, for `warnings`. */
  ignored: string[]
}

const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/
const MAX_DESCRIPTION_CHARS = 10_000
const MAX_SCHEMA_BYTES = 32 * 1024
const MAX_SCHEMA_DEPTH = 32
const MAX_ENDPOINT_CHARS = 2_048
/** ASCII, no backslash, no credentials: what stands there is where the request goes. The table has the same check. */
const ENDPOINT = /^https?:\/\/[a-z0-9.:_[\]-]+([/?#][!-[\]-~]*)?$/i

const invalid = (message: string, cause?: unknown) => new AppError('invalid_request', message, { cause })

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function checkName(name: string): void {
  if (!TOOL_NAME.test(name)) throw invalid('name: 1 to 64 letters, digits, _ and - are allowed.')
  if (BUILTIN_TOOL_NAMES.has(name.toLowerCase())) throw invalid(`name: ${name} is the name of a built-in tool.`)
  if (name.toLowerCase().startsWith('mcp__')) throw invalid('name: mcp__ begins the names of tools of MCP servers.')
}

function checkDescription(description: string): void {
  if (description.trim() === '' || description.length > MAX_DESCRIPTION_CHARS) {
    throw invalid(`description: 1 to ${MAX_DESCRIPTION_CHARS} characters that tell the model what the tool does.`)
  }
}

/** What a JSON pointer in a schema points to; undefined when there is nothing. */
function pointedTo(schema: Record<string, unknown>, pointer: string): unknown {
  let found: unknown = schema
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined
    found = (found as Record<string, unknown>)[key]
  }
  return found
}

function checkPattern(pattern: unknown): void {
  if (isSafePattern(pattern)) return
  throw invalid(
    'input_schema: a pattern is no regular expression, is too long, or repeats a group that repeats within.',
  )
}

/** What a part of a schema is: a schema itself, an object whose keys are names of the tool's own, or plain data. */
type Part = 'schema' | 'names' | 'data'

/** What the value of a keyword is. Lists of schemas are walked through as schemas. */
function partOf(key: string, within: Part): Part {
  if (within !== 'schema') return within === 'names' ? 'schema' : 'data'
  if (/^(properties|patternProperties|\$defs|definitions|dependentSchemas)$/.test(key)) return 'names'
  return /^(enum|const|default|examples)$/.test(key) ? 'data' : 'schema'
}

function checkKeyword(root: Record<string, unknown>, key: string, value: unknown): void {
  if (/^\$(id|anchor|dynamicRef|dynamicAnchor|recursiveRef|recursiveAnchor)$/.test(key)) {
    throw invalid(`input_schema: ${key} is not supported; use $ref with a path in the same schema.`)
  }
  if (key === '$ref') {
    const isLocal = typeof value === 'string' && /^#(\/|$)/.test(value)
    if (!isLocal) throw invalid('input_schema: $ref may only point into the same schema (#/...).')
    if (!isObject(pointedTo(root, value.slice(1)))) throw invalid('input_schema: a $ref points to nothing.')
  }
  if (key === 'pattern') checkPattern(value)
  if (key === 'patternProperties' && isObject(value)) Object.keys(value).forEach(checkPattern)
}

function checkPart(root: Record<string, unknown>, value: unknown, part: Part, depth: number): void {
  if (depth > MAX_SCHEMA_DEPTH) throw invalid(`input_schema: nested more than ${MAX_SCHEMA_DEPTH} levels deep.`)
  if (Array.isArray(value)) {
    for (const item of value) checkPart(root, item, part, depth + 1)
    return
  }
  if (!isObject(value)) return
  for (const [key, inner] of Object.entries(value)) {
    if (key === '__proto__') throw invalid('input_schema: __proto__ is not allowed as a name.')
    if (part === 'schema') checkKeyword(root, key, inner)
    checkPart(root, inner, partOf(key, part), depth + 1)
  }
}

/** `$ref`s that lead back to themselves without a value in between would be followed forever. */
function refuseEndlessRefs(root: Record<string, unknown>, value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  const seen = new Set<unknown>()
  for (let at: unknown = value; isObject(at) && typeof at['$ref'] === 'string'; ) {
    if (seen.has(at)) throw invalid('input_schema: a $ref leads back to itself.')
    seen.add(at)
    at = pointedTo(root, at['$ref'].slice(1))
  }
  for (const part of Object.values(value)) refuseEndlessRefs(root, part)
}

function checkSchema(schema: unknown): Record<string, unknown> {
  if (!isObject(schema)) throw invalid('input_schema: must be a JSON Schema of an object.')
  if (schema['type'] !== 'object') throw invalid('input_schema: its type must be "object".')
  const properties = schema['properties'] ?? {}
  if (!isObject(properties)) throw invalid('input_schema: properties must be an object.')
  // Depth first: what follows recurses, JSON.stringify too. Then the size: following references takes its square.
  checkPart(schema, schema, 'schema', 0)
  if (new TextEncoder().encode(JSON.stringify(schema)).byteLength > MAX_SCHEMA_BYTES) {
    throw invalid(`input_schema: larger than ${MAX_SCHEMA_BYTES} bytes.`)
  }
  refuseEndlessRefs(schema, schema)
  const problem = schemaProblem(schema)
  if (problem !== null) throw invalid(`input_schema: ${problem}`)
  return schema
}

function checkEndpoint(endpoint: unknown): string {
  if (typeof endpoint !== 'string' || endpoint.length > MAX_ENDPOINT_CHARS || !URL.canParse(endpoint)) {
    throw invalid('config.endpoint: must be a URL.')
  }
  const { protocol, username, password } = new URL(endpoint)
  if (protocol !== 'https:' && protocol !== 'http:') throw invalid('config.endpoint: must be an http(s) URL.')
  if (username !== '' || password !== '') {
    throw invalid('config.endpoint: must not contain credentials; use config.headers.')
  }
  if (!ENDPOINT.test(endpoint)) throw invalid('config.endpoint: has characters that must be percent-encoded.')
  return endpoint
}

function checkedHeaders(headers: unknown, forwardsUser: boolean): Record<string, string> | null {
  if (headers === undefined || headers === null) return null
  if (!isObject(headers)) throw invalid('config.headers: must be an object.')
  checkHeaders(headers as Record<string, string>)
  if (forwardsUser && Object.keys(headers).some((name) => name.toLowerCase() === 'authorization')) {
    throw invalid('config.headers: Authorization is taken by config.forward_user_jwt.')
  }
  return headers as Record<string, string>
}

function checkedFlag(config: Record<string, unknown>, name: string): boolean {
  const value = config[name] ?? false
  if (typeof value !== 'boolean') throw invalid(`config.${name}: must be true or false.`)
  return value
}

const KNOWN = new Set([
  ...['endpoint', 'method', 'headers', 'timeout_seconds', 'forward_user_jwt', 'retry_safe'],
  SESSION_TOKEN,
])

/**
 * Checks what somebody wants a custom tool to be, and gives it in the form it is stored in.
 * @throws AppError `invalid_request` with the first thing that is wrong. Values of headers are never in a message.
 */
export function checkToolDefinition(input: ToolDefinitionInput): CheckedTool {
  checkName(input.name)
  checkDescription(input.description ?? '')
  const schema = checkSchema(input.input_schema)
  const config = input.config
  if (!isObject(config)) throw invalid('config: must be an object.')
  const method = String(config['method'] ?? 'POST').toUpperCase()
  if (!HTTP_METHODS.some((known) => known === method)) {
    throw invalid(`config.method: must be one of ${HTTP_METHODS.join(', ')}.`)
  }
  const timeout = config['timeout_seconds'] ?? DEFAULT_TIMEOUT_SECONDS
  if (typeof timeout !== 'number' || !(timeout > 0 && timeout <= MAX_TIMEOUT_SECONDS)) {
    throw invalid(`config.timeout_seconds: must be above 0 and at most ${MAX_TIMEOUT_SECONDS}.`)
  }
  const forwardsUser = checkedFlag(config, 'forward_user_jwt')
  checkedFlag(config, SESSION_TOKEN)
  const retrySafe = checkedFlag(config, 'retry_safe')
  return {
    name: input.name,
    input_schema: schema,
    config: {
      endpoint: checkEndpoint(config['endpoint']),
      method: method as HttpMethod,
      timeout_seconds: timeout,
      forward_user_jwt: forwardsUser,
      session_token: takesSessionToken(schema),
      ...(config['retry_safe'] == null ? {} : { retry_safe: retrySafe }),
    },
    headers: checkedHeaders(config['headers'], forwardsUser),
    ignored: Object.keys(config).filter((key) => !KNOWN.has(key)),
  }
}

/** Whether a tool's schema asks for a `session_token`. */
export function takesSessionToken(schema: Record<string, unknown>): boolean {
  return Object.hasOwn(Object(schema['properties']), SESSION_TOKEN)
}

/**
 * The schema a model is shown: without `session_token`, and closed to arguments that it does not name, unless it says
 * itself what else may come.
 */
export function visibleSchema(schema: Record<string, unknown>): Record<string, unknown> {
  const { [SESSION_TOKEN]: _filledIn, ...properties } = Object(schema['properties']) as Record<string, unknown>
  const visible: Record<string, unknown> = { ...schema, type: 'object', properties }
  if (Array.isArray(schema['required'])) {
    visible['required'] = schema['required'].filter((name) => name !== SESSION_TOKEN)
  }
  const saysMore = [
    'additionalProperties',
    'unevaluatedProperties',
    'patternProperties',
    '$ref',
    'allOf',
    'anyOf',
    'oneOf',
  ]
  if (!saysMore.some((keyword) => Object.hasOwn(schema, keyword))) visible['additionalProperties'] = false
  return visible
}
