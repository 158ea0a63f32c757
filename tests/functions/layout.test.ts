import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const ROOT = new URL('../../supabase/functions/', import.meta.url)
const functions = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !entry.name.startsWith('_'))
  .map((entry) => entry.name)
const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
const read = (file: string) => readFileSync(new URL(file, ROOT), 'utf8')
const packages: { dependencies: Record<string, string> } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
)

const importsOf = (file: string) =>
  [...read(file).matchAll(/\bfrom '([^']+)'|\bimport\('([^']+)'\)/g)].map((match) => match[1] ?? match[2] ?? '')

/** Everything a function's entry reaches. */
function closure(entry: string): { files: Set<string>; packages: Set<string> } {
  const found = { files: new Set<string>(), packages: new Set<string>() }
  const visit = (file: string) => {
    if (found.files.has(file)) return
    found.files.add(file)
    for (const target of importsOf(file)) {
      if (target.startsWith('.')) visit(new URL(target, new URL(file, ROOT)).href.slice(ROOT.href.length))
      else if (!target.startsWith('node:')) found.packages.add(target)
    }
  }
  visit(entry)
  return found
}

describe.each(functions)('the function %s', (name) => {
  const { imports }: { imports: Record<string, string> } = JSON.parse(read(`${name}/deno.json`))

  it('pins the versions of package.json', () => {
    for (const [key, value] of Object.entries(imports)) {
      const dependency = key.replace(/\/$/, '')
      const version = packages.dependencies[dependency]
      expect(value).toBe(key.endsWith('/') ? `npm:/${dependency}@${version}/` : `npm:${dependency}@${version}`)
    }
  })

  it('names every package it reaches, also by subpath, and no other', () => {
    const reached = closure(`${name}/index.ts`).packages
    const needed = [...reached].map((target) => {
      const parts = target.split('/')
      const dependency = parts.slice(0, target.startsWith('@') ? 2 : 1).join('/')
      return dependency === target ? dependency : `${dependency}/`
    })
    expect(Object.keys(imports).sort()).toEqual([...new Set(needed)].sort())
  })

  it('imports nothing of another function, and everything with its extension', () => {
    for (const file of closure(`${name}/index.ts`).files) {
      expect(file).toMatch(new RegExp(`^(${name}|_shared)/`))
      for (const target of importsOf(file)) if (target.startsWith('.')) expect(target).toMatch(/\.ts$/)
    }
  })
})

describe('all function files', () => {
  it('read the environment in index.ts only, and never name Deno', () => {
    for (const file of files) {
      if (!/^\w+\/index\.ts$/.test(file)) expect(read(file), file).not.toMatch(/process\.env|node:process/)
      expect(read(file), file).not.toMatch(/\bDeno\./)
    }
  })

  it('use the secret key in the ledger only', () => {
    const users = files.filter((file) => /createClient\(/.test(read(file)))
    expect(users.sort()).toEqual(['_shared/context.ts', '_shared/ledger.ts'])
    for (const file of files) {
      if (file === '_shared/ledger.ts' || file === '_shared/env.ts') continue
      expect(read(file), file).not.toMatch(/SUPABASE_SECRET_KEYS|SUPABASE_SERVICE_ROLE_KEY/)
    }
  })

  it('stay small', () => {
    for (const file of files) expect(read(file).split('\n').length, file).toBeLessThanOrEqual(400)
    expect(existsSync(new URL('deno.json', ROOT))).toBe(false)
  })
})
