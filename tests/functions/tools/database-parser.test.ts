import fs from 'node:fs'
import { afterEach, expect, it, vi } from 'vitest'
import { parseStatement } from '../../../supabase/functions/_shared/tools/database/parser.ts'

afterEach(() => vi.restoreAllMocks())

it('is loaded without synchronous file access, which the hosted runtime refuses while it handles requests', async () => {
  const readFileSync = vi.spyOn(fs, 'readFileSync').mockImplementation(() => {
    throw new Error('Deno.readFileSync is blocklisted on the current context')
  })
  expect(() => fs.readFileSync('package.json')).toThrow('blocklisted')
  const calls = readFileSync.mock.calls.length
  const [first, second] = await Promise.all([parseStatement('select 1'), parseStatement('select 2 from t')])
  expect(first).toHaveProperty('SelectStmt.targetList')
  expect(second).toHaveProperty('SelectStmt.fromClause')
  expect(readFileSync.mock.calls.length).toBe(calls)
})

it('tells the model where its SQL is wrong, in a short text', async () => {
  await expect(parseStatement('select id form t')).rejects.toThrow(
    /no valid PostgreSQL: syntax error at or near "t", at character 16/,
  )
  const long = parseStatement(`select a b${'c'.repeat(3000)} d from t`)
  await expect(long).rejects.toThrow(/syntax error/)
  expect((await long.catch((error: Error) => error.message)).toString().length).toBeLessThan(500)
})

it('parses text of any script, and many queries without running out of memory', async () => {
  const target = await parseStatement("select 'größe 漢字 😀' as x from t")
  expect(JSON.stringify(target)).toContain('größe 漢字 😀')
  for (let i = 0; i < 3000; i++)
    await parseStatement(`select id from t where id = ${i} and note = '${'x'.repeat(1000)}'`)
})
