import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ERROR_STATUS } from '../../supabase/functions/_shared/errors.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const documented = readFileSync(path.join(root, 'docs/errors.md'), 'utf8')
const names = (code: string): boolean => documented.includes(`\`${code}\``)

const sources = (folder: string, extension: string): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(extension))
    .map((name) => readFileSync(path.join(root, folder, name), 'utf8'))

const found = (texts: string[], pattern: RegExp): string[] => [
  ...new Set(texts.flatMap((text) => [...text.matchAll(pattern)].flatMap((match) => (match[1] ? [match[1]] : [])))),
]

describe('docs/errors.md', () => {
  it('explains every code a function can answer, with its status', () => {
    for (const [code, status] of Object.entries(ERROR_STATUS)) {
      const row = documented.split('\n').find((line) => line.startsWith('|') && line.includes(`\`${code}\``))
      expect(row, code).toContain(`| ${status} |`)
    }
  })

  it('explains every code that SQL raises, and functions know each', () => {
    const codes = found(sources('supabase/migrations', '.sql'), /raise_error\(\s*\d+,\s*'([a-z_]+)'/g)
    expect(codes.length).toBeGreaterThan(8)
    expect(codes.filter((code) => !names(code))).toEqual([])
    expect(codes.filter((code) => !Object.hasOwn(ERROR_STATUS, code))).toEqual([])
  })

  it('explains every reason that a document is given', () => {
    const texts = [...sources('worker', '.ts'), ...sources('supabase/functions/_shared/ingestion', '.ts')]
    const codes = [
      ...found(texts, /reasonCode: '([a-z_]+)'/g),
      ...found(texts, /retry\(\s*'[a-z_]+',\s*'([a-z_]+)'/g),
      ...found(texts, /^ {2}([a-z_]+): \{ status: '(?:failed|attention_required)'/gm),
      ...found(texts, /new PermanentError\(\s*'([a-z_]+)'/g),
    ]
    expect(codes.length).toBeGreaterThan(12)
    expect(codes.filter((code) => !names(code))).toEqual([])
  })
})
