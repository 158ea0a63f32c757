import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { spawnStack, untilReady, type StackProcess } from '../tests/support/stack-process.ts'
import { measureFirstByte } from './support/first-byte.ts'
import { peakMemory } from './support/memory.ts'
import { measureSearch } from './support/search-latency.ts'
import { duration, median, timed } from './support/stats.ts'
import { measureUpload } from './support/upload.ts'

// `npm run bench:main`: the figures of the main path in one run, on stacks of its own in a temporary folder. They tell
// this machine now; compare ratios between runs, not times between machines. With DATABASE_URL the stack runs on that
// server, and "first start" is a true one only if its database is empty.

const STARTS = 3
const row = (label: string, value: string) => console.log(`${label.padEnd(44)} ${value}`)
const folders: string[] = []

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))
  folders.push(folder)
  return folder
}

async function start(folder: string): Promise<{ ms: number; result: StackProcess }> {
  const databaseUrl = process.env.DATABASE_URL ? { DATABASE_URL: process.env.DATABASE_URL } : {}
  return timed(() => untilReady(spawnStack({ BULKHEAD_DATA_DIR: folder, ...databaseUrl })))
}

async function stop(stack: StackProcess): Promise<number> {
  const { ms } = await timed(async () => {
    stack.child.kill('SIGINT')
    await stack.exited
  })
  return ms
}

async function measureStarts(): Promise<void> {
  const first: number[] = []
  const later: number[] = []
  const stops: number[] = []
  for (let i = 0; i < STARTS; i++) {
    const folder = newFolder()
    for (const times of [first, later]) {
      const { ms, result } = await start(folder)
      times.push(ms)
      stops.push(await stop(result))
    }
  }
  row(`time to ready, first start (median of ${STARTS})`, duration(median(first)))
  row(`time to ready, later start (median of ${STARTS})`, duration(median(later)))
  row(`clean stop (median of ${stops.length})`, duration(median(stops)))
}

async function measureMainPath(): Promise<void> {
  const { result: stack } = await start(newFolder())
  try {
    const target = {
      url: stack.printed('API URL'),
      publishableKey: stack.printed('Publishable key'),
      secretKey: stack.printed('Secret key'),
    }
    row('providers', stack.printed('Providers'))
    for (const pages of [36, 190]) {
      const { median: ms, runs, chunks, bytes } = await measureUpload(target, pages)
      row(
        `upload to searchable, ${pages} pages (median of ${runs})`,
        `${duration(ms)}  ${chunks} chunks, ${bytes} bytes`,
      )
    }
    const { first, complete, runs } = await measureFirstByte(target)
    row(`first SSE byte of an answer (median of ${runs})`, duration(first))
    row(`complete answer (median of ${runs})`, duration(complete))
    for (const { label, p50, p95, runs } of await measureSearch(target)) {
      row(`${label} (${runs} searches)`, `p50 ${duration(p50)}  p95 ${duration(p95)}`)
    }
    const memory = peakMemory(stack.pid)
    if (memory.length === 0) row('peak memory', 'only known on Linux')
    for (const { name, peakMegabytes } of memory) row(`peak memory, ${name}`, `${peakMegabytes.toFixed(0)} MB`)
  } finally {
    await stop(stack)
  }
}

try {
  const gigabytes = (totalmem() / 2 ** 30).toFixed(0)
  row(
    'machine',
    `${cpus().length} cores, ${gigabytes} GB, ${process.platform} ${process.arch}, Node ${process.versions.node}`,
  )
  row('database', process.env.DATABASE_URL ? 'native PostgreSQL' : 'PGlite')
  await measureStarts()
  await measureMainPath()
} finally {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}
