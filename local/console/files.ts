import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

export type ConsoleFile = { bytes: Uint8Array<ArrayBuffer>; type: string; etag: string; immutable: boolean }

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
}

/**
 * The files of a build by the path of their address, `/` for index.html. They are read once, a few megabytes in all:
 * an address is looked up and never becomes a path, and a later build may remove the folder.
 * @throws when there is no such folder or no index.html in it
 */
export const readConsoleFiles = (folder: string): Map<string, ConsoleFile> => {
  const files = new Map<string, ConsoleFile>()
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.startsWith('_')) continue
    const file = path.join(entry.parentPath, entry.name)
    const bytes = new Uint8Array(readFileSync(file))
    const address = `/${path.relative(folder, file).split(path.sep).join('/')}`
    files.set(address, {
      bytes,
      type: TYPES[path.extname(file)] ?? 'application/octet-stream',
      etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
      // The names of these have a hash of their content in them.
      immutable: address.startsWith('/assets/'),
    })
  }
  const index = files.get('/index.html')
  if (!index) throw new Error(`There is no index.html in ${folder}.`)
  return files.set('/', index)
}

/** The answer with a file, or that the browser has it already. */
export const answerWithFile = (request: Request, file: ConsoleFile, security: Record<string, string>): Response => {
  const headers = {
    ...security,
    etag: file.etag,
    'cache-control': file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
  }
  const known = request.headers.get('if-none-match')?.split(',') ?? []
  if (known.some((etag) => etag.trim().replace(/^W\//, '') === file.etag)) {
    return new Response(null, { status: 304, headers })
  }
  const length = String(file.bytes.byteLength)
  return new Response(request.method === 'HEAD' ? null : file.bytes, {
    headers: { ...headers, 'content-type': file.type, 'content-length': length },
  })
}
