import { describe, expect, it } from 'vitest'
import {
  BUILTIN_TOOL_NAMES,
  checkToolDefinition,
  visibleSchema,
} from '../../../supabase/functions/_shared/tools/custom-definition.ts'
import type { ToolDefinitionInput } from '../../../supabase/functions/_shared/tools/custom-definition.ts'

const SCHEMA = { type: 'object', properties: { query: { type: 'string' } }, required: ['query'] }
const CONFIG = { endpoint: 'https://tools.example.com/search' }

const check = (change: Partial<ToolDefinitionInput> = {}) =>
  checkToolDefinition({
    name: 'search_articles',
    description: 'Searches articles.',
    input_schema: SCHEMA,
    config: CONFIG,
    ...change,
  })
const schemaWith = (schema: unknown) => () => check({ input_schema: schema })
const configWith = (config: Record<string, unknown>) => () => check({ config: { ...CONFIG, ...config } })
const refusal = (field: string) =>
  expect.objectContaining({ code: 'invalid_request', message: expect.stringMatching(new RegExp(`^${field}`)) })

describe('a definition in order', () => {
  it('comes back in the form it is stored in', () => {
    expect(check()).toEqual({
      name: 'search_articles',
      input_schema: SCHEMA,
      config: {
        endpoint: 'https://tools.example.com/search',
        method: 'POST',
        timeout_seconds: 30,
        forward_user_jwt: false,
        session_token: false,
      },
      headers: null,
      ignored: [],
    })
  })

  it('may be the one of the cookbook: its session_token is noticed', () => {
    const properties = { query: { type: 'string' }, session_token: { type: 'string' } }
    const { config } = check({ input_schema: { type: 'object', properties, required: ['query', 'session_token'] } })
    expect(config.session_token).toBe(true)
  })

  it('has its headers taken out of the config, which everybody may read', () => {
    const headers = { 'x-api-key': 'canary' }
    const checked = check({
      config: { ...CONFIG, method: 'get', timeout_seconds: 2.5, headers, retries: 3, secret_headers: 'x' },
    })
    expect(checked.headers).toEqual(headers)
    expect(checked.ignored).toEqual(['retries', 'secret_headers'])
    expect(checked.config).toMatchObject({ method: 'GET', timeout_seconds: 2.5 })
    expect(JSON.stringify(checked.config)).not.toContain('canary')
    expect(check({ config: { ...CONFIG, headers: {} } }).headers).toEqual({})
  })
})

describe('T10: a name', () => {
  it.each([
    '',
    'a b',
    'a.b',
    'naïve',
    'x'.repeat(65),
    'search\n',
    ...BUILTIN_TOOL_NAMES,
    'Database_Query',
    'mcp__server__tool',
    'MCP__x',
  ])('%j is refused', (name) => {
    expect(() => check({ name })).toThrow(refusal('name: '))
  })

  it.each(['a', 'Search-Articles_2', 'x'.repeat(64), 'mcp_search', 'my_database_query'])('%j is taken', (name) => {
    expect(check({ name }).name).toBe(name)
  })
})

it.each([null, '', '  ', 'x'.repeat(10_001)])(
  'a tool without a description of some length is refused',
  (description) => {
    expect(() => check({ description })).toThrow(refusal('description: '))
  },
)

describe('a schema is refused when it', () => {
  const deep = (levels: number): unknown => (levels === 0 ? {} : { type: 'array', items: deep(levels - 1) })
  const property = (schema: unknown) => ({ type: 'object', properties: { a: schema } })

  it.each<[string, unknown]>([
    ['is none', null],
    ['is a list', [SCHEMA]],
    ['is a boolean', true],
    ['describes no object', { type: 'string' }],
    ['does not say what it describes', { properties: {} }],
    ['has a list for properties', { type: 'object', properties: [] }],
    ['points to another file', property({ $ref: 'https://evil.example/schema.json' })],
    ['points to another file by a fragment of it', property({ $ref: 'other.json#/a' })],
    ['points to nothing', property({ $ref: '#/$defs/a' })],
    ['points to a value', { ...property({ $ref: '#/type' }) }],
    ['points to what every object has', property({ $ref: '#/constructor' })],
    ['points to itself', { ...property({ $ref: '#/properties/a' }) }],
    [
      'points in a circle',
      { ...property({ $ref: '#/$defs/a' }), $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } },
    ],
    ['has a base of its own', { ...SCHEMA, $id: 'https://evil.example/' }],
    ['has dynamic references', property({ $dynamicRef: '#a' })],
    ['is nested too deep', property(deep(40))],
    ['is too large', property({ enum: ['x'.repeat(32 * 1024)] })],
    ['has a pattern that takes forever', property({ type: 'string', pattern: '^(a+)+$' })],
    ['has a longer one that does', property({ type: 'string', pattern: '^([a-z]+\\d*){2,}$' })],
    ['has one that hides it in groups', property({ type: 'string', pattern: '^((?:a+)b?)*$' })],
    ['has one that takes forever by alternatives', property({ type: 'string', pattern: '^(a|aa)+$' })],
    ['has such a pattern in a list', { ...SCHEMA, allOf: [{ properties: { a: { pattern: '(a*)*' } } }] }],
    ['has data nested too deep', property({ default: deep(40) })],
    ['has a pattern that is none', property({ type: 'string', pattern: '(' })],
    ['has a pattern that is very long', property({ type: 'string', pattern: 'a'.repeat(257) })],
    ['has such a pattern for names', { type: 'object', patternProperties: { '(a*)*': {} } }],
    ['names __proto__', JSON.parse('{"type":"object","properties":{"__proto__":{"type":"string"}}}')],
  ])('%s', (_case, schema) => {
    expect(schemaWith(schema)).toThrow(refusal('input_schema: '))
  })

  it('and is taken when it is only unusual', () => {
    const unusual = {
      type: 'object',
      properties: {
        // Names of arguments, not keywords.
        $ref: { type: 'string' },
        pattern: { type: 'string', pattern: '^[a-z]{2}(-[A-Z]{2})?$' },
        $id: { type: 'string' },
        date: { type: 'string', pattern: '^\\d{4}(-\\d\\d){2}( [(|+*)]+)?\\(+(a|b)?$' },
        tree: { $ref: '#/$defs/tree' },
        any: { enum: [{ $ref: 'not a reference' }, null], default: { pattern: '(' } },
      },
      $defs: { tree: { type: 'object', properties: { left: { $ref: '#/$defs/tree' }, self: { $ref: '#' } } } },
    }
    expect(check({ input_schema: unusual }).input_schema).toBe(unusual)
  })

  it('even if it is built to exhaust whoever looks at it', () => {
    const endless: Record<string, unknown> = { type: 'object' }
    endless['properties'] = { a: endless }
    expect(schemaWith(endless)).toThrow(refusal('input_schema: '))
  })
})

it('says in its config whether a call may be made again, and nothing when nothing was said', () => {
  const stored = (config: Record<string, unknown>) => {
    const { config: kept, ignored } = check({ config: { endpoint: 'https://tools.example.com/', ...config } })
    expect(ignored).toEqual([])
    return kept
  }
  expect(stored({ retry_safe: true })).toMatchObject({ retry_safe: true })
  expect(stored({ retry_safe: false })).toMatchObject({ retry_safe: false })
  for (const config of [{}, { retry_safe: null }]) expect(stored(config)).not.toHaveProperty('retry_safe')
})

describe('a config is refused with', () => {
  it.each<[string, unknown]>([
    ['no endpoint', undefined],
    ['words for an endpoint', 'not a url'],
    ['another scheme', 'file:///etc/passwd'],
    ['javascript', 'javascript:alert(1)'],
    ['credentials in it', 'https://user:canary@tools.example.com/'],
    ['a name in it', 'https://tools.example.com@evil.example/'],
    ['a backslash', 'https://tools.example.com\\@evil.example/'],
    ['a line feed', 'https://tools.example.com/\nx'],
    ['letters outside of ASCII', 'https://tööls.example.com/'],
    ['a very long address', `https://tools.example.com/${'x'.repeat(2048)}`],
  ])('%s', (_case, endpoint) => {
    expect(configWith({ endpoint })).toThrow(refusal('config.endpoint: '))
    expect(() => check({ config: { endpoint } })).not.toThrow(/canary/)
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['another method', { method: 'TRACE' }, 'config.method: '],
    ['no time', { timeout_seconds: 0 }, 'config.timeout_seconds: '],
    ['too much time', { timeout_seconds: 301 }, 'config.timeout_seconds: '],
    ['a time that is a text', { timeout_seconds: '30' }, 'config.timeout_seconds: '],
    ['a flag that is a text', { forward_user_jwt: 'true' }, 'config.forward_user_jwt: '],
    ['a retry_safe that is a text', { retry_safe: 'true' }, 'config.retry_safe: '],
    ['a session_token that is a text', { session_token: 'secret' }, 'config.session_token: '],
    ['headers that are a list', { headers: ['a: b'] }, 'config.headers: '],
    ['a header that splits', { headers: { a: 'b\r\nc: d' } }, 'headers: '],
    ['our own header', { headers: { 'x-bulkhead-tool-token': 'x' } }, 'headers: '],
    [
      'two users of Authorization',
      { headers: { Authorization: 'Bearer canary' }, forward_user_jwt: true },
      'config.headers: ',
    ],
  ])('%s', (_case, config, field) => {
    expect(configWith(config)).toThrow(refusal(field))
  })

  it('anything but an object', () => {
    for (const config of [null, [], 'https://tools.example.com'])
      expect(() => check({ config })).toThrow(refusal('config: '))
  })
})

describe('the schema a model is shown', () => {
  it('is closed, unless it says itself what else may come', () => {
    expect(visibleSchema(SCHEMA)).toEqual({ ...SCHEMA, additionalProperties: false })
    for (const more of [
      { additionalProperties: true },
      { patternProperties: {} },
      { allOf: [] },
      { $ref: '#/$defs/a' },
    ]) {
      expect(visibleSchema({ ...SCHEMA, ...more })).toEqual({ ...SCHEMA, ...more })
    }
    expect(visibleSchema({ type: 'object' })).toEqual({ type: 'object', properties: {}, additionalProperties: false })
  })

  it('leaves the stored one as it is', () => {
    const stored = { type: 'object', properties: { session_token: {}, a: {} }, required: ['session_token', 'a'] }
    const copy = structuredClone(stored)
    expect(visibleSchema(stored)).toMatchObject({ properties: { a: {} }, required: ['a'] })
    expect(stored).toEqual(copy)
  })
})

it('T14: refuses a schema that stops whoever checks it', () => {
  const steps = Array.from({ length: 20 }, (_, n) => [
    `d${n}`,
    { allOf: [1, 2].map(() => ({ $ref: `#/$defs/d${n + 1}` })) },
  ])
  const doubling = { ...SCHEMA, allOf: [{ $ref: '#/$defs/d0' }], $defs: { ...Object.fromEntries(steps), d20: {} } }
  expect(schemaWith(doubling)).toThrow(refusal('input_schema: is too large, too deeply nested, or refers to its parts'))
  const tree = { type: 'object', properties: { children: { type: 'array', items: { $ref: '#' } } } }
  expect(check({ input_schema: tree }).input_schema).toEqual(tree)
})
