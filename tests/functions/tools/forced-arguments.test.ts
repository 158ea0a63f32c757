import { Validator } from '@cfworker/json-schema'
import { expect, it } from 'vitest'
import { withForcedArguments } from '../../../supabase/functions/_shared/tools/forced-arguments.ts'
import type { Tool } from '../../../supabase/functions/_shared/tools/types.ts'
import { USER_ID } from '../support/tokens.ts'
import { callContext } from './custom-support.ts'

/** A tool that answers with the arguments it was called with. */
const echo = (inputSchema: Record<string, unknown>): Tool => ({
  name: 'search',
  description: 'Searches.',
  inputSchema,
  kind: 'builtin',
  isConcurrencySafe: true,
  effects: ['egress'],
  maxResultChars: null,
  execute: (args) => Promise.resolve({ text: JSON.stringify(args) }),
})
const SCHEMA = {
  type: 'object',
  properties: { query: { type: 'string' }, num_results: { type: 'integer' }, category: { type: 'string' } },
  required: ['query', 'category'],
  additionalProperties: false,
}
const called = async (tool: Tool, args: Record<string, unknown>): Promise<unknown> =>
  JSON.parse((await tool.execute(args, callContext(USER_ID, 'token'))).text)

it('takes a settled argument out of the schema and puts it into every call', async () => {
  const tool = withForcedArguments(echo(SCHEMA), { category: 'news', num_results: 3 })
  expect(tool.inputSchema).toEqual({
    type: 'object',
    properties: { query: { type: 'string' } },
    required: ['query'],
    additionalProperties: false,
  })
  expect(await called(tool, { query: 'cranes' })).toEqual({ query: 'cranes', category: 'news', num_results: 3 })
  const settled = { category: 'news', num_results: 3 }
  expect({ ...tool, inputSchema: null, execute: null }).toEqual({
    ...{ ...echo(SCHEMA), inputSchema: null, execute: null },
    settled,
  })
})

it('does not let the model write it: refused by the schema, and without effect should it get through', async () => {
  const tool = withForcedArguments(echo(SCHEMA), { category: 'news' })
  const isValid = (args: object) => new Validator(tool.inputSchema).validate(args).valid
  expect(isValid({ query: 'cranes' })).toBe(true)
  expect(isValid({ query: 'cranes', category: 'gossip' })).toBe(false)
  expect(await called(tool, { query: 'cranes', category: 'gossip' })).toEqual({ query: 'cranes', category: 'news' })
})

it('forces empty, false and null values as well', async () => {
  const tool = withForcedArguments(echo(SCHEMA), { category: '', num_results: 0, query: null })
  expect(tool.inputSchema).toMatchObject({ properties: {}, required: [] })
  expect(await called(tool, { query: 'x', num_results: 9 })).toEqual({ category: '', num_results: 0, query: null })
})

it('leaves the tool as it is for names that are no arguments', async () => {
  const tool = echo(SCHEMA)
  const strange = JSON.parse('{"max_results":1,"tenant_id":"x","__proto__":{"query":"y"},"constructor":1,"toString":1}')
  expect(withForcedArguments(tool, strange)).toBe(tool)
  expect(withForcedArguments(tool, {})).toBe(tool)
  const mixed = withForcedArguments(tool, { ...strange, category: 'news' })
  expect(await called(mixed, { query: 'x' })).toEqual({ query: 'x', category: 'news' })
})

it.each([{}, { type: 'object', properties: null }, { type: 'object', properties: ['query'], required: 'query' }])(
  'forces nothing on a tool whose schema names no arguments: %j',
  (schema) => {
    const tool = echo(schema)
    expect(withForcedArguments(tool, { query: 'x', 0: 'x' })).toBe(tool)
  },
)

it('T05: judges whether a call may be made again by the settled arguments too', () => {
  const tool = { ...echo(SCHEMA), isRetrySafe: ({ category }: Record<string, unknown>) => category === 'news' }
  const isSafe = (settled: Record<string, unknown>, args: Record<string, unknown>) =>
    (withForcedArguments(tool, settled).isRetrySafe as typeof tool.isRetrySafe)(args)
  expect(isSafe({ num_results: 1 }, { category: 'news' })).toBe(true)
  expect(isSafe({ category: 'mail' }, { category: 'news' })).toBe(false)
  expect(withForcedArguments({ ...tool, isRetrySafe: true }, { category: 'mail' }).isRetrySafe).toBe(true)
})
