import { dereference, validate } from '@cfworker/json-schema'
import { describe, expect, it } from 'vitest'
import { checkArguments, parseArguments, schemaProblem } from '../../../supabase/functions/_shared/agent/arguments.ts'
import { isPlainPattern } from '../../../supabase/functions/_shared/agent/schema-patterns.ts'
import { MAX_WORK, SchemaMeter, TooMuchWork } from '../../../supabase/functions/_shared/agent/schema-work.ts'
import { assertWellFormed, call, fakeTool, only, runScript, say, scriptedModel } from './support/loop-fakes.ts'

const SCHEMA = {
  type: 'object',
  properties: {
    query: { type: 'string', minLength: 1 },
    limit: { type: 'integer', minimum: 1, maximum: 10 },
    filter: { type: 'array', items: { type: 'object', properties: { op: { enum: ['eq', 'gt'] } }, required: ['op'] } },
  },
  required: ['query'],
  additionalProperties: false,
}

const problemOf = (schema: Record<string, unknown>, text: string): string => {
  const checked = parseArguments(schema, text)
  return checked.ok ? 'none' : checked.problem
}

describe('parseArguments', () => {
  it('takes what fits the schema, and nothing at all for a tool without arguments', () => {
    const text = '{"query":"a","limit":3,"filter":[{"op":"eq"}]}'
    expect(parseArguments(SCHEMA, text)).toEqual({ ok: true, args: JSON.parse(text) })
    expect(parseArguments({ type: 'object' }, '')).toEqual({ ok: true, args: {} })
    expect(parseArguments({ type: 'object' }, ' \n')).toEqual({ ok: true, args: {} })
  })

  it.each([
    ['no JSON', '{"query":', /not valid JSON/],
    ['an array', '["a"]', /a JSON object is needed/],
    ['a text', '"a"', /a JSON object is needed/],
    ['null', 'null', /a JSON object is needed/],
    ['a number', '3', /a JSON object is needed/],
    ['nothing where something is required', '', /Missing: "query"/],
    ['a missing property', '{"limit":1}', /Missing: "query"/],
    ['a wrong type', '{"query":1}', /query: The value type "number" is invalid\. Expected "string"/],
    ['a number out of range', '{"query":"a","limit":11}', /limit: 11 is greater than 10/],
    ['a value that is not offered', '{"query":"a","filter":[{"op":"lt"}]}', /filter\/0\/op: .*\["eq","gt"\]/],
    ['an unknown property', '{"query":"a","order":"up"}', /Property "order" is not known/],
  ])('names what is wrong: %s', (_name, text, expected) => {
    expect(problemOf(SCHEMA, text)).toMatch(expected)
    expect(problemOf(SCHEMA, text)).toMatch(/^Invalid arguments: /)
  })

  it('names only the innermost problem, and not without end', () => {
    expect(problemOf(SCHEMA, '{"query":"a","filter":[{"op":"lt"}]}')).not.toMatch(/does not match schema/)
    const many = JSON.stringify(
      Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`x${n}${'y'.repeat(500)}`, n])),
    )
    expect(problemOf(SCHEMA, many).length).toBeLessThan(3000)
    expect(problemOf(SCHEMA, many)).toMatch(/and \d+ more/)
  })

  it.each([
    ['tenant_id', '{"query":"a","tenant_id":"t2"}'],
    ['user_id', '{"query":"a","user_id":"u2"}'],
    ['session_token', '{"query":"a","session_token":"x"}'],
    ['role', '{"query":"a","role":"service_role"}'],
  ])('T05: refuses %s smuggled beside the arguments', (key, text) => {
    expect(problemOf(SCHEMA, text)).toContain(`"${key}" is not known`)
  })

  it.each([
    ['on top', '{"query":"a","__proto__":{"isAdmin":true}}'],
    ['deep inside', '{"a":[{"b":{"__proto__":{"isAdmin":true}}}]}'],
    ['constructor', '{"constructor":{"prototype":{"isAdmin":true}}}'],
    ['in disguise', '{"__pro\\u0000to__":{"isAdmin":true}}'],
    ['escaped', '{"\\u005f_proto__":{"isAdmin":true}}'],
  ])('T05: refuses keys that reach into prototypes: %s', (_name, text) => {
    const checked = parseArguments({ type: 'object' }, text)
    expect(checked).toMatchObject({ ok: false, args: {} })
    expect(checked.ok ? '' : checked.problem).toMatch(/is not allowed/)
    expect(({} as Record<string, unknown>)['isAdmin']).toBeUndefined()
  })

  it('T05: takes the last of two keys of the same name, and hands on no other reading', () => {
    const checked = parseArguments(SCHEMA, '{"query":"shown","query":"meant"}')
    expect(checked.args).toEqual({ query: 'meant' })
  })

  it('refuses nesting that would break whoever walks it', () => {
    expect(problemOf({ type: 'object' }, `{"a":${'['.repeat(60)}${']'.repeat(60)}}`)).toMatch(/nested more than 50/)
    expect(problemOf({ type: 'object' }, `{"a":${'['.repeat(100_000)}`)).toMatch(/Invalid arguments/)
    expect(problemOf({ type: 'object' }, `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)).toMatch(/Invalid/)
  })

  it('takes out what no store can hold, before anything is shown or carried out', () => {
    const { args } = parseArguments({ type: 'object' }, '{"a\\u0000":"x\\u0000y\\ud800z"}')
    expect(args).toEqual({ a: 'xy\ufffdz' })
  })

  it.each([
    ['a reference that leads nowhere', { $ref: '#/definitions/none' }],
    ['a reference to another host', { $ref: 'https://evil.example/schema.json' }],
    ['endless recursion', { $ref: '#' }],
    ['a broken pattern', { properties: { a: { pattern: '[' } } }],
  ])('refuses a call whose schema cannot be used: %s', (_name, schema) => {
    expect(problemOf(schema, '{"a":"x"}')).toMatch(/schema of this tool cannot be used/)
  })

  it('leaves the schema as it was: the model gets to see it', () => {
    const schema = Object.freeze({
      type: 'object',
      properties: Object.freeze({ a: Object.freeze({ type: 'string' }) }),
    })
    expect(checkArguments(schema, { a: 'x' }).ok).toBe(true)
    expect(JSON.stringify(schema)).toBe('{"type":"object","properties":{"a":{"type":"string"}}}')
  })

  it('reads a schema by the draft it names', () => {
    const schema = { properties: { n: { maximum: 5, exclusiveMaximum: true } } }
    const old = { ...schema, $schema: 'http://json-schema.org/draft-04/schema#' }
    expect(problemOf(old, '{"n":5}')).toMatch(/n: /)
    expect(problemOf(old, '{"n":4}')).toBe('none')
  })
})

describe('patterns in schemas', () => {
  it.each(['^[a-z]+$', '^\\d{4}-\\d{2}$', '^(?:a|b)c?$', '^[A-Z]{2}[0-9]{1,6}$', 'abc', '^\\p{L}+$'])(
    'runs the plain one %s',
    (pattern) => {
      expect(isPlainPattern(pattern)).toBe(true)
    },
  )

  it.each([
    '^(a+)+$',
    '(a|a)*b',
    '^(a|b){5,}$',
    '(?=a)b',
    '^(.)\\1$',
    'a*a*a*b',
    '^.*.*.*x$',
    'a{1,9999}b{1,9999}',
    '^(?<n>a)$',
  ])('does not run %s, which may take long', (pattern) => {
    expect(isPlainPattern(pattern)).toBe(false)
  })

  const withPattern = (pattern: string) => ({ type: 'object', properties: { a: { type: 'string', pattern } } })

  it('checks plain ones', () => {
    expect(problemOf(withPattern('^[a-z]+$'), '{"a":"abc"}')).toBe('none')
    expect(problemOf(withPattern('^[a-z]+$'), '{"a":"ABC"}')).toMatch(/^Invalid arguments: a: /)
  })

  it('T14: leaves the others to the tool, so that a schema cannot stop the process', () => {
    const hostile = `{"a":"${'a'.repeat(60)}!"}`
    expect(problemOf(withPattern('^(a+)+$'), hostile)).toBe('none')
    expect(problemOf({ patternProperties: { '^(a+)+$': {} }, additionalProperties: false }, hostile)).toBe('none')
    expect(problemOf({ properties: { a: { format: 'url' } } }, `{"a":"http://${'a'.repeat(60)}"}`)).toBe('none')
    // A long text is not matched at all.
    expect(problemOf(withPattern('^[a-z]+$'), `{"a":"${'A'.repeat(5000)}"}`)).toBe('none')
  })

  it('still takes a property that is called pattern or format', () => {
    const schema = {
      type: 'object',
      properties: { pattern: { type: 'string' }, format: { enum: ['x'] } },
      additionalProperties: false,
    }
    expect(problemOf(schema, '{"pattern":"(a+)+","format":"x"}')).toBe('none')
    expect(problemOf(schema, '{"format":"y"}')).toMatch(/format: /)
  })
})

describe('T14: the work of a check', () => {
  const TOO_MUCH = /too large or too deeply nested to be checked/
  const times = <T>(count: number, make: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n))
  const named = <T>(count: number, make: (n: number) => T) =>
    Object.fromEntries(times(count, (n) => [`p${n}`, make(n)]))
  const problem = (schema: Record<string, unknown>, value: unknown): string => {
    const checked = checkArguments(schema, value)
    return checked.ok ? 'none' : checked.problem
  }

  /** A list that is checked twice, and so is each list in it. */
  const twice = {
    properties: { q: { $ref: '#/$defs/list' } },
    $defs: { list: { anyOf: times(2, () => ({ type: 'array', items: { $ref: '#/$defs/list' } })) } },
  }
  const lists = (depth: number): unknown => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`)

  it('has an end where a schema leads twice to itself, and takes as much as fits', () => {
    expect(problem(twice, { q: lists(8) })).toBe('none')
    expect(problem(twice, { q: lists(16) })).toMatch(TOO_MUCH)
    // What was too much before leaves nothing behind.
    expect(problem(twice, { q: lists(8) })).toBe('none')
  })

  it('doubles with each level of such a value, and is counted where it is done', () => {
    const schema = structuredClone(twice) as Record<string, unknown>
    const meter = new SchemaMeter(schema)
    const parts = dereference(schema)
    const workFor = (depth: number) => {
      meter.begin({ q: lists(depth) })
      expect(validate({ q: lists(depth) }, schema, '2020-12', parts).valid).toBe(true)
      return meter.spent
    }
    const work = times(6, (n) => workFor(n + 3))
    for (const [n, more] of work.slice(1).entries()) expect(more / work[n]!).toBeGreaterThan(1.8)
    expect(() => workFor(16)).toThrow(TooMuchWork)
    expect(meter.spent).toBeGreaterThan(MAX_WORK)
  })

  it('has an end where the same thing is checked over and over', () => {
    const steps = named(20, (n) => ({ allOf: times(2, () => ({ $ref: `#/$defs/p${n + 1}` })) }))
    const schema = { type: 'object', $ref: '#/$defs/p0', $defs: { ...steps, p20: {} } }
    expect(problem(schema, {})).toMatch(TOO_MUCH)
    expect(schemaProblem(schema)).toBe('is too large, too deeply nested, or refers to its parts too often.')
    expect(schemaProblem(twice)).toBeNull()
  })

  it('counts the reading of a schema as well', () => {
    // The validator reads each part that has an address of its own twice.
    const addressed = times(16, (n) => n).reduce<object>((inner, n) => ({ $id: `http://x/${n}`, items: inner }), {})
    const deep = times(300, (n) => n).reduce<object>((inner) => ({ items: inner }), {})
    const longNames = { properties: { ['k'.repeat(5000)]: { properties: named(200, () => ({})) } } }
    for (const schema of [{ properties: { a: addressed } }, { properties: { a: deep } }, longNames]) {
      expect(problem(schema, { b: 1 })).toMatch(TOO_MUCH)
    }
  })

  it('counts what is not what it should be, and addresses, which become part of each other', () => {
    const doubled = (part: object) => {
      const steps = named(8, (n) => ({ allOf: times(2, () => ({ $ref: `#/$defs/p${n + 1}` })) }))
      return { type: 'object', $ref: '#/$defs/p0', $defs: { ...steps, p8: part } }
    }
    const addressed = { id: `https://x/${'a'.repeat(20_000)}`, properties: named(100, () => ({})) }
    expect(schemaProblem(addressed)).toMatch(/too large/)
    expect(schemaProblem({ ...addressed, id: 'https://x/a' })).toBeNull()
    for (const part of [{ properties: 'a'.repeat(50_000) }, { minProperties: '0'.repeat(50_000) }]) {
      expect(schemaProblem(doubled(part))).toMatch(/too large/)
    }
    // Patterns alone are left to the tool.
    const patterns = Object.fromEntries(times(400, (n) => [`^x${n}`, {}]))
    expect(schemaProblem(doubled({ patternProperties: patterns }))).toBeNull()
    expect(schemaProblem(doubled({ properties: { a: { description: 'a'.repeat(5_000) } } }))).toBeNull()
  })

  it('counts what an object is compared with', () => {
    const schema = { properties: { q: { enum: times(2_000, () => ({})) } } }
    expect(problem(schema, { q: {} })).toBe('none')
    expect(problem(schema, { q: named(2_000, () => 1) })).toMatch(TOO_MUCH)
    expect(problem(schema, { q: 'a' })).toMatch(/q: The value does not match/)
  })

  it('leaves rows with lists and long texts in them far from it', () => {
    const row = { type: 'object', properties: { a: { $ref: '#/$defs/list' }, b: { $ref: '#/$defs/list' } } }
    const schema = {
      properties: { rows: { type: 'array', items: row }, text: { type: 'string', maxLength: 200_000 } },
      $defs: { list: { type: 'array', items: { type: 'string', maxLength: 100 } } },
    }
    const rows = times(1_000, () => ({ a: ['x'], b: ['y'] }))
    expect(problem(schema, { rows })).toBe('none')
    expect(problem(schema, { rows: rows.slice(0, 400), text: 'x'.repeat(100_000) })).toBe('none')
  })

  it('is that of all patterns together: the tool checks what is too much', () => {
    const withPatterns = (count: number) => ({
      properties: { a: { allOf: times(count, (n) => ({ pattern: `[a-z]*x${n}` })) } },
    })
    const long = { a: 'a'.repeat(3900) }
    expect(problem(withPatterns(1), long)).toMatch(/does not match pattern/)
    expect(problem(withPatterns(500), long)).toBe('none')
    expect(problem(withPatterns(500), { a: 'a' })).toMatch(/does not match pattern/)
  })

  it('is that of comparing all items of a list: the tool checks what is too much', () => {
    const schema = { properties: { a: { type: 'array', uniqueItems: true, items: { type: 'integer' } } } }
    expect(problem(schema, { a: times(500, (n) => n % 400) })).toMatch(/Duplicate items/)
    expect(problem(schema, { a: times(500, (n) => n) })).toBe('none')
    expect(problem(schema, { a: times(20_000, (n) => n % 19_000) })).toBe('none')
    expect(problem(schema, { a: [...times(20_000, (n) => n), 'x'] })).toMatch(/a\/20000: .*integer/)
  })

  const kinds = times(30, (n) => ({
    type: 'object',
    properties: { type: { const: `kind ${n}` }, text: { type: 'string' }, children: { type: 'array', items: { $ref: '#/$defs/block' } } },
    required: ['type'],
    additionalProperties: false,
  })) // prettier-ignore
  const block = (depth: number): object => ({
    type: `kind ${depth}`,
    children: depth > 0 ? [block(depth - 1), block(depth - 1)] : [],
  })
  const operators = ['and', 'or'].map((name) => ({
    type: 'object',
    properties: { [name]: { type: 'array', items: { $ref: '#/$defs/filter' } } },
    required: [name],
    additionalProperties: false,
  })) // prettier-ignore
  const leaf = {
    type: 'object',
    properties: { field: { type: 'string' }, op: { enum: ['=', '<'] } },
    required: ['field'],
  }
  const filter = (depth: number): object =>
    depth > 0 ? { [depth % 2 ? 'and' : 'or']: [filter(depth - 1), filter(depth - 1)] } : { field: 'a', op: '=' }
  const tree = { type: 'object', properties: { left: { $ref: '#/$defs/tree' }, right: { $ref: '#/$defs/tree' } } }
  const branches = (depth: number): object =>
    depth > 0 ? { left: branches(depth - 1), right: branches(depth - 1) } : {}
  const row = { type: 'object', properties: { x: { type: ['string', 'null'] }, y: { anyOf: [{ type: 'number' }, { type: 'null' }] } }, required: ['x'], additionalProperties: false } // prettier-ignore
  const tag = { enum: times(1000, (n) => `some tag ${n}`) }

  it.each<[string, Record<string, unknown>, unknown, unknown]>([
    ['200 properties', { properties: named(200, () => ({ type: 'string', maxLength: 9 })), additionalProperties: false }, named(200, () => 'v'), named(200, () => 1)],
    ['an enum of 1,000 entries', { properties: { a: { type: 'array', uniqueItems: true, items: tag } } }, { a: times(300, (n) => `some tag ${n}`) }, { a: times(300, () => 'none') }],
    ['3,000 rows', { properties: { a: { type: 'array', items: row } } }, { a: times(3000, (n) => ({ x: `v${n}`, y: n })) }, { a: times(3000, (n) => ({ y: n })) }],
    ['a tree', { properties: { a: { $ref: '#/$defs/tree' } }, $defs: { tree } }, { a: branches(9) }, { a: { left: { right: 1 } } }],
    ['a tree as deep as arguments may be', { properties: { a: { $ref: '#/$defs/tree' } }, $defs: { tree } }, { a: times(45, (n) => n).reduce<object>((left) => ({ left }), {}) }, { a: { left: 1 } }],
    ['a filter', { properties: { a: { $ref: '#/$defs/filter' } }, $defs: { filter: { anyOf: [...operators, leaf] } } }, { a: filter(8) }, { a: { and: [{ op: '=' }] } }],
    ['blocks of 30 kinds', { properties: { a: { $ref: '#/$defs/block' } }, $defs: { block: { oneOf: kinds } } }, { a: block(5) }, { a: { ...block(5), type: 'none' } }],
  ])('is little for what real schemas ask: %s', (_name, schema, fitting, wrong) => {
    expect(schemaProblem(schema)).toBeNull()
    expect(problem(schema, fitting)).toBe('none')
    expect(problem(schema, wrong)).toMatch(/^Invalid arguments: (?!they are)/)
  }) // prettier-ignore

  it('ends a call of a run with a clear answer, and the run goes on', async () => {
    const tool = fakeTool('nested', 'done', { inputSchema: { type: 'object', ...twice } })
    const model = scriptedModel([[call('nested', { q: lists(16) })], [call('nested', { q: [] })], [say('Done.')]])
    const { result } = await runScript(model, [tool])
    expect(tool.received).toEqual([{ q: [] }])
    expect(model.requests[1]?.messages.at(-1)?.content).toMatch(TOO_MUCH)
    expect(result.status).toBe('completed')
  })
})

describe('invalid calls in a run', () => {
  it('T14: are answered with what is wrong, never made, and the model may try again', async () => {
    const tool = fakeTool('search', 'found', { inputSchema: SCHEMA })
    const bad = ['{"q', '[]', '{"query":1}', '{"query":"a","tenant_id":"t2"}', '{"query":"a","__proto__":{"x":1}}']
    const model = scriptedModel([
      bad.map((text) => call('search', text)),
      [call('search', { query: 'a' })],
      [say('Found it.')],
    ])
    const { result, events } = await runScript(model, [tool])
    expect(tool.received).toEqual([{ query: 'a' }])
    expect(result.toolCalls.map((record) => record.is_error)).toEqual([true, true, true, true, true, false])
    expect(only(events, 'tool_call').map((event) => event['arguments'])).toEqual([
      {},
      {},
      { query: 1 },
      { query: 'a', tenant_id: 't2' },
      {},
      { query: 'a' },
    ])
    expect(
      only(events, 'tool_result')
        .slice(0, 5)
        .some((event) => 'result_meta' in event),
    ).toBe(false)
    expect(model.requests[1]?.messages.at(-1)?.content).toContain('"__proto__" is not allowed')
    // What goes back to the provider is always JSON.
    for (const message of model.requests[2]?.messages ?? []) {
      for (const echo of message.role === 'assistant' ? (message.toolCalls ?? []) : []) JSON.parse(echo.arguments)
    }
    assertWellFormed(events)
    expect(result.status).toBe('completed')
  })

  it('T05: a tool gets the identity of the run, whatever the arguments say', async () => {
    let seen: unknown
    const tool = fakeTool('t', async (_args, { principal }) => {
      seen = [principal.tenantId, principal.userId]
      return { text: 'ok' }
    })
    await runScript(scriptedModel([[call('t', { tenant_id: 'other', principal: { userId: 'x' } })], [say('x')]]), [
      tool,
    ])
    expect(seen).toEqual(['tenant', 'user'])
  })
})
