import type { Sql } from '../database/database.ts'
import { StorageError } from './errors.ts'
import { escapeLike, OBJECT_COLUMNS, type ObjectRow } from './rows.ts'

export type FolderListing = {
  /** A folder, with or without its slash; empty for the root of the bucket. */
  prefix: string
  /** Beginning of the names to list inside the folder. */
  search: string
  limit: number
  offset: number
  sortBy: { column: 'name' | 'updated_at' | 'created_at' | 'last_accessed_at'; order: 'asc' | 'desc' }
}

/** A file, or a folder when `id` is null. */
export type FolderEntry = Pick<ObjectRow, 'name' | 'metadata'> &
  Record<'id' | 'updated_at' | 'created_at' | 'last_accessed_at', string | null>

/** One level of a bucket as `list()` shows it: folders first, then files, as far as the caller may see them. */
export async function listFolder(sql: Sql, bucketId: string, options: FolderListing): Promise<FolderEntry[]> {
  const { prefix, search, limit, offset, sortBy } = options
  const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
  return await sql.query<FolderEntry>(
    `with visible as (
       select split_part(substr(name, length($2::text) + 1), '/', 1) as entry,
         strpos(substr(name, length($2::text) + 1), '/') > 0 as is_folder,
         ${OBJECT_COLUMNS}
       from storage.objects
       where bucket_id = $1 and starts_with(name, $2::text)
     ), entries as (
       select entry as name, null::text as id, null as updated_at, null as created_at, null as last_accessed_at, null::jsonb as metadata
       from visible where is_folder group by entry
       union all
       select entry, id::text, updated_at, created_at, last_accessed_at, metadata from visible where not is_folder
     )
     select name, id, updated_at, created_at, last_accessed_at, metadata from entries
     where name ilike $3 || '%'
     order by id is not null, ${sortBy.column} ${sortBy.order}, name collate "C" limit $4 offset $5`,
    [bucketId, folder, escapeLike(search), limit, offset],
  )
}

export type KeyListing = {
  prefix: string
  /** Groups what follows the prefix up to this text; empty lists every key. */
  delimiter: string
  /** Only entries after this one (before it, descending). */
  after: string | null
  limit: number
  order?: 'asc' | 'desc'
}

/** An object, or a common prefix when `grouped`. */
export type KeyEntry = ObjectRow & { entry: string; grouped: boolean }

/** Keys and common prefixes in byte order, one page and whether there is more. */
export async function listKeys(
  sql: Sql,
  bucketId: string,
  { prefix, delimiter, after, limit, order = 'asc' }: KeyListing,
): Promise<{ entries: KeyEntry[]; hasMore: boolean }> {
  const entries = await sql.query<KeyEntry>(
    `with visible as (
       select *, $3::text <> '' and strpos(substr(name, length($2::text) + 1), $3) > 0 as grouped
       from storage.objects where bucket_id = $1 and starts_with(name, $2::text)
     ), named as (
       select *, case when grouped
         then $2 || split_part(substr(name, length($2) + 1), $3, 1) || $3 else name end collate "C" as entry
       from visible
     )
     select distinct on (entry) entry, grouped, ${OBJECT_COLUMNS} from named
     where $4::text is null or entry ${order === 'asc' ? '>' : '<'} $4
     order by entry ${order} limit $5`,
    [bucketId, prefix, delimiter, after, limit + 1],
  )
  return { entries: entries.slice(0, limit), hasMore: entries.length > limit }
}

export type ListV2 = {
  prefix: string
  limit: number
  cursor: string | undefined
  withDelimiter: boolean
  sortBy: { column: 'name' | 'updated_at' | 'created_at'; order: 'asc' | 'desc' }
}

/** A page as `listV2()` shows it. By name the cursor is the last entry; by time it is a position. */
export async function listV2(sql: Sql, bucketId: string, options: ListV2) {
  const { prefix, limit, cursor, withDelimiter, sortBy } = options
  const delimiter = withDelimiter ? '/' : ''
  if (sortBy.column === 'name') {
    const after = cursor === undefined ? null : decodeCursor(cursor)
    const page = await listKeys(sql, bucketId, { prefix, delimiter, after, limit, order: sortBy.order })
    return render(
      page.entries,
      page.hasMore ? encodeCursor(page.entries.at(-1)?.entry ?? '') : undefined,
      withDelimiter,
    )
  }
  // Folders have no time of their own: they come first and all at once, files follow page by page.
  const offset = cursor === undefined ? 0 : Number(decodeCursor(cursor))
  if (!Number.isSafeInteger(offset) || offset < 0) throw new StorageError('InvalidRequest', 'The cursor is invalid')
  const folders =
    withDelimiter && offset === 0
      ? (await listKeys(sql, bucketId, { prefix, delimiter, after: null, limit: 1000 })).entries.filter(
          (e) => e.grouped,
        )
      : []
  const files = await sql.query<KeyEntry>(
    `select ${OBJECT_COLUMNS}, name as entry, false as grouped from storage.objects as object
     where bucket_id = $1 and starts_with(name, $2::text) and not ($3::text <> '' and strpos(substr(name, length($2) + 1), $3) > 0)
     order by object.${sortBy.column} ${sortBy.order}, object.name collate "C" limit $4 offset $5`,
    [bucketId, prefix, delimiter, limit + 1, offset],
  )
  const next = files.length > limit ? encodeCursor(String(offset + limit)) : undefined
  return render([...folders, ...files.slice(0, limit)], next, withDelimiter)
}

function render(entries: KeyEntry[], nextCursor: string | undefined, withDelimiter: boolean) {
  const key = (name: string) => (withDelimiter ? { key: name.split('/').at(-1) } : {})
  return {
    hasNext: nextCursor !== undefined,
    ...(nextCursor !== undefined && { nextCursor }),
    folders: entries.filter((e) => e.grouped).map((e) => ({ name: e.entry, ...key(e.entry.slice(0, -1)) })),
    objects: entries
      .filter((e) => !e.grouped)
      .map(({ id, name, updated_at, created_at, last_accessed_at, metadata, version }) => ({
        ...key(name),
        ...{ id, name, updated_at, created_at, last_accessed_at, metadata, version },
      })),
  }
}

const encodeCursor = (text: string) => Buffer.from(text).toString('base64url')
const decodeCursor = (cursor: string) => Buffer.from(cursor, 'base64url').toString('utf8')
