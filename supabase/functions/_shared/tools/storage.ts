import type { Db } from '../context.ts'
import type { Tool, ToolResult } from './types.ts'

/** Bytes of a file that storage_read gives as text; larger and binary ones become a link. */
const MAX_TEXT_BYTES = 200_000
const MAX_WRITE_CHARS = 1_000_000
const MAX_LISTED = 200
/** Seconds a link to a file is good for. */
const LINK_SECONDS = 300
const MAX_RESULT_CHARS = 50_000

const bucketAndPath = {
  bucket: { type: 'string', minLength: 1, maxLength: 100, description: 'Name of the bucket.' },
  path: { type: 'string', maxLength: 1024, description: 'Path in the bucket, without a leading slash.' },
}

/** What Storage refuses looks the same whether it is absent or not the caller's: its own text might tell them apart. */
const refused = (what: string): ToolResult => ({
  text: `Error: ${what}. There is no such file, or you may not use it.`,
  isError: true,
})

/**
 * The client of Storage puts buckets and paths into a URL as they are. What a URL reads as something else (`%2e%2e`, `\`,
 * `?`, line breaks that it drops) would lead out of the bucket, and out of Storage, with the person's token.
 */
const READ_AS_ELSE = /[\\%?#\p{Cc}]/u
/** Parts of a path that would mean another place to somebody. */
const isPlainPath = (path: string) =>
  !READ_AS_ELSE.test(path) &&
  path === path.trim() &&
  !path.split('/').some((part) => ['', '.', '..'].includes(part.trim()))
const isPlainBucket = (bucket: string) => !bucket.includes('/') && isPlainPath(bucket)

/** What a browser would run, or take for something it runs, stays text, whatever the model calls it. */
const IS_RUN = /html|svg|xml|xsl|script|unknown/i

const asText = (bytes: Uint8Array): string | null => {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return text.includes('\0') ? null : text
  } catch {
    return null
  }
}

async function list(db: Db, bucket: string, path: string): Promise<ToolResult> {
  const folder = path.replace(/\/+$/, '')
  if (!isPlainBucket(bucket) || (folder !== '' && !isPlainPath(folder)))
    return refused('The path is not one of a folder')
  const { data, error } = await db.storage.from(bucket).list(folder, { limit: MAX_LISTED })
  if (error) return refused('The folder could not be listed')
  const files = data.map(({ name, id, metadata }) => ({
    name,
    kind: id === null ? 'folder' : 'file',
    ...(typeof metadata?.['size'] === 'number' ? { size: metadata['size'] } : {}),
  }))
  return { text: JSON.stringify({ files, truncated: data.length === MAX_LISTED }) }
}

async function download(db: Db, bucket: string, path: string, publicUrl: string | null): Promise<ToolResult> {
  if (!isPlainBucket(bucket) || !isPlainPath(path)) return refused('The path is not one of a file')
  const { data: info, error: missing } = await db.storage.from(bucket).info(path)
  if (missing) return refused('The file could not be read')
  const size = info.size ?? 0
  if (size <= MAX_TEXT_BYTES) {
    const { data, error } = await db.storage.from(bucket).download(path)
    if (error) return refused('The file could not be read')
    const text = asText(new Uint8Array(await data.arrayBuffer()))
    if (text !== null) return { text }
  }
  const { data, error } = await db.storage.from(bucket).createSignedUrl(path, LINK_SECONDS)
  if (error) return refused('The file could not be read')
  const { signedUrl } = data
  const url = publicUrl === null ? signedUrl : publicUrl + signedUrl.slice(signedUrl.indexOf('/storage/v1/'))
  return { text: JSON.stringify({ size, url, expires_in_seconds: LINK_SECONDS }) }
}

/**
 * `storage_read`: lists folders and reads files of Storage, as the person may under the policies of storage.objects.
 * @param publicUrl where people reach the project, for links, if it is not the URL that functions use.
 */
export function createStorageRead(publicUrl: string | null = null): Tool {
  return {
    name: 'storage_read',
    description:
      'Lists a folder of file storage (operation "list") or reads a file (operation "download"). Text is returned as it is; other files as a link that works for a few minutes.',
    inputSchema: {
      type: 'object',
      properties: { operation: { type: 'string', enum: ['list', 'download'] }, ...bucketAndPath },
      required: ['operation', 'bucket'],
      additionalProperties: false,
    },
    kind: 'builtin',
    isConcurrencySafe: true,
    effects: ['reads_untrusted'],
    maxResultChars: MAX_RESULT_CHARS,
    async execute(args, { principal }) {
      const db = await principal.db()
      const path = String(args['path'] ?? '')
      return args['operation'] === 'list'
        ? list(db, String(args['bucket']), path)
        : download(db, String(args['bucket']), path, publicUrl)
    },
  }
}

/** `storage_write`: writes a text file, as the person may under the policies of storage.objects; replaces one that is there. */
export function createStorageWrite(): Tool {
  return {
    name: 'storage_write',
    description: 'Writes a text file to file storage, replacing one of the same path.',
    inputSchema: {
      type: 'object',
      properties: {
        ...bucketAndPath,
        content: { type: 'string', maxLength: MAX_WRITE_CHARS },
        content_type: { type: 'string', pattern: '^[a-z0-9.+-]{1,50}/[a-z0-9.+-]{1,100}$' },
      },
      required: ['bucket', 'path', 'content'],
      additionalProperties: false,
    },
    kind: 'builtin',
    isConcurrencySafe: false,
    effects: ['writes'],
    maxResultChars: MAX_RESULT_CHARS,
    async execute(args, { principal }) {
      const bucket = String(args['bucket'])
      const path = String(args['path'])
      if (!isPlainBucket(bucket) || !isPlainPath(path)) return refused('The path is not one of a file')
      const bytes = new TextEncoder().encode(String(args['content']))
      const asked = String(args['content_type'] ?? 'text/plain')
      const contentType = IS_RUN.test(asked) ? 'text/plain' : asked
      const db = await principal.actingDb()
      const { error } = await db.storage
        .from(bucket)
        .upload(path, bytes, { contentType: `${contentType};charset=utf-8`, upsert: true })
      if (error) {
        const isTooLarge = /exceeded|too large/i.test(error.message)
        return isTooLarge
          ? { text: 'Error: The file is too large.', isError: true }
          : refused('The file was not written')
      }
      return { text: JSON.stringify({ path, size: bytes.byteLength }) }
    },
  }
}
