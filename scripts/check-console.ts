import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { gzipSync } from 'node:zlib'
import { report } from './support/report.ts'
import { run } from './support/run.ts'

// `node scripts/check-console.ts`: the console's types, its build for a host, and what that build weighs and holds.

/** What a browser loads before the first screen can be used: the entry, what it imports at once, and their styles. */
const FIRST_SCREEN_BYTES = 250_000
/** Password of every user in supabase/seed.sql: for the local stack only. */
const SEED_PASSWORD = 'bulkhead-demo'
const SETTINGS = {
  VITE_SUPABASE_URL: 'https://abcdefgh.supabase.co',
  VITE_SUPABASE_PUBLISHABLE_KEY: 'sb_publishable_for_the_check',
}

const problems: string[] = []
const out = mkdtempSync(path.join(tmpdir(), 'bulkhead-console-check-'))
try {
  const [types, built] = await Promise.all([
    run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'web']),
    run(process.execPath, ['web/build/main.ts', '--out', out], { ...process.env, ...SETTINGS }),
  ])
  if (types.code !== 0) problems.push(`types\n${types.output}`)
  if (built.code !== 0) problems.push(`build\n${built.output}`)
  else problems.push(...lookInto(out))
} finally {
  rmSync(out, { recursive: true })
}
report('console', problems)

function lookInto(folder: string): string[] {
  const found: string[] = []
  const html = readFileSync(path.join(folder, 'index.html'), 'utf8')
  const inline = /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|(?:src|href)="(?:javascript|data):/i.exec(html)
  if (inline) found.push(`index.html has something inline that its policy refuses: ${inline[0]}`)
  if (!html.includes('http-equiv="Content-Security-Policy"')) found.push('index.html has no Content-Security-Policy')

  const first = firstScreen(folder, html)
  const bytes = first.reduce((sum, file) => sum + gzipSync(readFileSync(path.join(folder, file))).length, 0)
  const weight = `${(bytes / 1000).toFixed(1)} kB gzip in ${first.length} files, of ${FIRST_SCREEN_BYTES / 1000} kB`
  console.log(`first screen: ${weight}`)
  if (bytes > FIRST_SCREEN_BYTES) found.push(`the first screen is too heavy: ${weight}\n  ${first.join('\n  ')}`)

  let hasSettings = false
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const text = readFileSync(path.join(entry.parentPath, entry.name), 'utf8')
    if (text.includes(SEED_PASSWORD)) found.push(`${entry.name} holds the seeded users' password`)
    if (text.includes(SETTINGS.VITE_SUPABASE_PUBLISHABLE_KEY)) hasSettings = true
  }
  if (!hasSettings) found.push('the publishable key is not in the build')
  return found
}

/** index.html, what it names, and what these scripts import without being asked for it later. */
function firstScreen(folder: string, html: string): string[] {
  const files = new Set(['index.html'])
  const add = (from: string, address: string): void => {
    const file = path.posix.normalize(path.posix.join(path.posix.dirname(from), address))
    if (files.has(file)) return
    files.add(file)
    if (!file.endsWith('.js')) return
    const code = readFileSync(path.join(folder, file), 'utf8')
    // What the minifier writes: import{a as b}from"./x.js", import"./x.js", export*from"./x.js". Not import("./x.js").
    for (const [, imported = ''] of code.matchAll(/\b(?:from|import)\s*["'](\.[^"']+\.js)["']/g)) add(file, imported)
  }
  for (const [, address = ''] of html.matchAll(/\s(?:src|href)="\.?\/?([^":]+)"/g)) add('index.html', `./${address}`)
  return [...files]
}
