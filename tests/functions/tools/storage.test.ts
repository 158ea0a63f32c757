import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { withForcedArguments } from '../../../supabase/functions/_shared/tools/forced-arguments.ts'
import { createStorageRead, createStorageWrite } from '../../../supabase/functions/_shared/tools/storage.ts'
import type { Tool, ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'
import { useStack } from '../../support/stack.ts'
import { HARBOR, MERIDIAN } from '../support/http.ts'
import { contextOf } from './person.ts'

const stack = useStack()
const BUCKET = 'reports'
const OTHER_BUCKET = 'payroll'
const OWN = `canary-own-${randomUUID()}`
const FOREIGN = `canary-foreign-${randomUUID()}`
const SECRET = `canary-payroll-${randomUUID()}`
const BINARY = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x00, 0xff, 0xfe, 0x0a])
const MAX_BUCKET_BYTES = 400_000

/** Runs of two people of two tenants. */
let harbor: ToolCallContext
let meridian: ToolCallContext

/** Puts a file there as the operator. */
async function put(path: string, body: string | Uint8Array<ArrayBuffer>, contentType: string, bucket = BUCKET) {
  const { error } = await stack.service.storage.from(bucket).upload(path, new Blob([body]), { contentType })
  if (error) throw new Error(`${path}: ${error.message}`)
}

/** The bytes of a file and its stored type, as the operator sees them; null when there is none. */
async function stored(path: string, bucket = BUCKET): Promise<{ text: string; type: string } | null> {
  const [row] = await stack.db.query<{ type: string }>(
    `select metadata ->> 'mimetype' as type from storage.objects where bucket_id = $1 and name = $2`,
    [bucket, path],
  )
  if (!row) return null
  const { data } = await stack.service.storage.from(bucket).download(path)
  return { text: await data!.text(), type: row.type }
}

beforeAll(async () => {
  await stack.db.query(
    `insert into storage.buckets (id, name, public, file_size_limit)
     values ($1, $1, false, $3), ($2, $2, false, null)`,
    [BUCKET, OTHER_BUCKET, MAX_BUCKET_BYTES],
  )
  // The first folder is the tenant; of the other bucket everybody may read everything, as its owner may have wanted.
  const inOwnFolder = `bucket_id = '${BUCKET}'
    and (storage.foldername(name))[1] = any (array(select private.caller_tenant_ids()::text))`
  for (const policy of [
    `"own folder, read" on storage.objects for select to authenticated using (${inOwnFolder})`,
    `"own folder, insert" on storage.objects for insert to authenticated with check (${inOwnFolder})`,
    `"own folder, update" on storage.objects for update to authenticated using (${inOwnFolder}) with check (${inOwnFolder})`,
    `"payroll, read" on storage.objects for select to authenticated using (bucket_id = '${OTHER_BUCKET}')`,
  ]) {
    await stack.db.query(`create policy ${policy}`)
  }
  await put(`${HARBOR}/notes/gate.md`, `# Gate\n\n${OWN} Grüße 👋`, 'text/markdown')
  await put(`${HARBOR}/notes/logo.png`, BINARY, 'image/png')
  await put(`${HARBOR}/long.txt`, 'x'.repeat(200_001), 'text/plain')
  await put(`${MERIDIAN}/notes/ward.md`, FOREIGN, 'text/markdown')
  await put('2026/wages.txt', SECRET, 'text/plain', OTHER_BUCKET)
  harbor = await contextOf(stack, 'member@harbor.example', HARBOR)
  meridian = await contextOf(stack, 'member@meridian.example', MERIDIAN)
})

const read = (args: object, context = harbor, tool: Tool = createStorageRead()) =>
  tool.execute({ operation: 'download', bucket: BUCKET, ...args }, context)
const list = (path: string, context = harbor) => read({ operation: 'list', path }, context)
const write = (args: object, context = harbor) =>
  createStorageWrite().execute({ bucket: BUCKET, content: 'text', ...args }, context)

/** What is said of a file that is absent. */
const NO_FILE = {
  text: 'Error: The file could not be read. There is no such file, or you may not use it.',
  isError: true,
}
const NOT_WRITTEN = {
  text: 'Error: The file was not written. There is no such file, or you may not use it.',
  isError: true,
}
const NO_PATH = {
  text: 'Error: The path is not one of a file. There is no such file, or you may not use it.',
  isError: true,
}

describe('storage_read', () => {
  it('gives the text of a file that the person may read', async () => {
    expect(await read({ path: `${HARBOR}/notes/gate.md` })).toEqual({ text: `# Gate\n\n${OWN} Grüße 👋` })
    expect(await read({ path: `${MERIDIAN}/notes/ward.md` }, meridian)).toEqual({ text: FOREIGN })
  })

  it('gives a link to a file that is no text, which works without a token', async () => {
    const { size, url, expires_in_seconds } = JSON.parse((await read({ path: `${HARBOR}/notes/logo.png` })).text)
    expect({ size, expires_in_seconds }).toEqual({ size: BINARY.length, expires_in_seconds: 300 })
    const answer = await fetch(url)
    expect(answer.status).toBe(200)
    expect(new Uint8Array(await answer.arrayBuffer())).toEqual(BINARY)
    // It opens this file and no other.
    const elsewhere = await fetch(url.replace('logo.png', 'gate.md'))
    expect(elsewhere.status).toBe(400)
    expect(await elsewhere.text()).not.toContain(OWN)
  })

  it('gives links to where people reach the project, if that is another address than ours', async () => {
    const tool = createStorageRead('https://files.example')
    const { url } = JSON.parse((await read({ path: `${HARBOR}/notes/logo.png` }, harbor, tool)).text)
    expect(url).toMatch(/^https:\/\/files\.example\/storage\/v1\/object\/sign\//)
    expect((await fetch(url.replace('https://files.example', stack.url))).status).toBe(200)
  })

  it('gives a link to a text that is too long to be shown', async () => {
    const { size, url } = JSON.parse((await read({ path: `${HARBOR}/long.txt` })).text)
    expect(size).toBe(200_001)
    expect(await (await fetch(url)).text()).toHaveLength(200_001)
  })

  it('lists what the person may see of a folder, with or without a slash at the end', async () => {
    const files = [
      { name: 'gate.md', kind: 'file', size: expect.any(Number) },
      { name: 'logo.png', kind: 'file', size: BINARY.length },
    ]
    for (const path of [`${HARBOR}/notes`, `${HARBOR}/notes/`]) {
      expect(JSON.parse((await list(path)).text)).toEqual({ files, truncated: false })
    }
    for (const path of ['', '/']) {
      expect(JSON.parse((await list(path)).text).files).toEqual([{ name: HARBOR, kind: 'folder' }])
      expect(JSON.parse((await list(path, meridian)).text).files).toEqual([{ name: MERIDIAN, kind: 'folder' }])
    }
  })

  it('answers alike for what is absent and what is another tenant’s', async () => {
    const [foreign, absent, noBucket, privateBucket] = await Promise.all([
      read({ path: `${MERIDIAN}/notes/ward.md` }),
      read({ path: `${MERIDIAN}/notes/none.md` }),
      read({ bucket: 'no-such-bucket', path: 'a.md' }),
      // Where uploads of the sources function lie: a bucket without policies.
      read({ bucket: 'sources', path: `${HARBOR}/a.md` }),
    ])
    for (const answer of [foreign, absent, noBucket, privateBucket]) expect(answer).toEqual(NO_FILE)
    const folders = await Promise.all([list(MERIDIAN), list('nowhere'), list(`${MERIDIAN}/notes`)])
    for (const answer of folders) expect(JSON.parse(answer.text)).toEqual({ files: [], truncated: false })
  })

  it('reads as the person may at that moment', async () => {
    const both = await contextOf(stack, 'both@bulkhead.example', HARBOR)
    const path = `${HARBOR}/notes/gate.md`
    expect((await read({ path }, both)).text).toContain(OWN)
    const leave = 'delete from public.memberships where user_id = $1 and tenant_id = $2 returning role'
    const [membership] = await stack.db.query<{ role: string }>(leave, [both.principal.userId, HARBOR])
    expect(await read({ path }, both)).toEqual(NO_FILE)
    const join = 'insert into public.memberships (tenant_id, user_id, role) values ($1, $2, $3)'
    await stack.db.query(join, [HARBOR, both.principal.userId, membership!.role])
  })
})

describe('a path is a path in its bucket', () => {
  /** Ways to write "one up" that a URL, a server or a file system may read as such. */
  const UP = ['..', '%2e%2e', '.%2E', '%252e%252e', '.\n.', '.\t.', '.\r.', ' ..', '.. ']
  const climbs = UP.flatMap((up) => [
    `${up}/${OTHER_BUCKET}/2026/wages.txt`,
    `a/${up}/${up}/${OTHER_BUCKET}/2026/wages.txt`,
    `${up}\\${OTHER_BUCKET}\\2026\\wages.txt`,
  ])
  const odd = [
    '',
    '/',
    '.',
    '..',
    `/${HARBOR}/notes/gate.md`,
    `//${HARBOR}/notes/gate.md`,
    `${HARBOR}//notes/gate.md`,
    `${HARBOR}/./notes/gate.md`,
    `${HARBOR}/notes/gate.md/`,
    `${HARBOR}/notes/gate.md/..`,
    `${HARBOR}/notes/gate.md?version=1`,
    `${HARBOR}/notes/gate.md#part`,
    `${HARBOR}/notes/gate.md\0`,
    ` ${HARBOR}/notes/gate.md`,
    `${HARBOR}%2Fnotes%2Fgate.md`,
    `${HARBOR}\\notes\\gate.md`,
  ]

  it('with a bucket that was settled by the assignment, the model reads no other', async () => {
    const settled = withForcedArguments(createStorageRead(), { bucket: BUCKET })
    // Without the forced bucket the person could: what is refused here is the way, not their right.
    expect((await read({ bucket: OTHER_BUCKET, path: '2026/wages.txt' })).text).toBe(SECRET)
    for (const path of climbs) {
      const answer = await read({ path, bucket: OTHER_BUCKET }, harbor, settled)
      expect(answer, JSON.stringify(path)).toEqual(NO_PATH)
    }
  })

  it.each(odd)('%j is no file', async (path) => {
    expect(await read({ path })).toEqual(NO_PATH)
    expect(await write({ path, content: 'gone' })).toEqual(NO_PATH)
    expect((await stored(`${HARBOR}/notes/gate.md`))?.text).toContain(OWN)
  })

  it.each([...climbs.slice(0, 3), '/..', `${HARBOR}/../${MERIDIAN}`, `/${MERIDIAN}`])(
    '%j is no folder',
    async (path) => {
      expect(await list(path)).toMatchObject({ isError: true, text: expect.stringContaining('not one of a folder') })
    },
  )

  it.each([
    '../../rest/v1/memories',
    '../../../rest/v1/rpc/anything',
    `${BUCKET}/${HARBOR}`,
    `${BUCKET}/../${OTHER_BUCKET}`,
    `%2e%2e/${OTHER_BUCKET}`,
    '%2e%2e',
    '..',
    '.',
    '',
    `${OTHER_BUCKET}?x=`,
    `${OTHER_BUCKET}#`,
    `${BUCKET}\\..\\${OTHER_BUCKET}`,
    `.\n./${OTHER_BUCKET}`,
    ` ${BUCKET}`,
  ])('%j is no bucket: nothing is sent anywhere', async (bucket) => {
    const sent: string[] = []
    const db = await harbor.principal.db()
    const noting = { ...harbor, principal: { ...harbor.principal, db: () => Promise.resolve(db) } }
    const storage = { from: (name: string) => (sent.push(name), db.storage.from(name)) }
    noting.principal.db = () => Promise.resolve({ storage } as unknown as typeof db)
    noting.principal.actingDb = noting.principal.db
    const path = '2026/wages.txt'
    for (const answer of [
      await read({ bucket, path }, noting),
      await read({ bucket, path: '2026', operation: 'list' }, noting),
      await write({ bucket, path }, noting),
    ]) {
      expect(answer).toMatchObject({ isError: true })
      expect(answer.text).not.toContain(SECRET)
    }
    expect(sent).toEqual([])
    // The same through the same client, for a bucket that is one.
    expect((await read({ bucket: OTHER_BUCKET, path }, noting)).text).toBe(SECRET)
    expect(sent).not.toEqual([])
  })

  it('names with dots, spaces and signs are names', async () => {
    for (const name of ['v1..2 (final).txt', '...', 'a b.txt', "it's & more+@=.txt", '.hidden']) {
      const path = `${HARBOR}/odd names/${name}`
      expect(JSON.parse((await write({ path, content: name })).text), name).toEqual({ path, size: name.length })
      expect(await read({ path })).toEqual({ text: name })
    }
  })
})

describe('storage_write', () => {
  it('writes a text, and replaces it', async () => {
    const path = `${HARBOR}/drafts/letter.md`
    const content = 'Grüße 👋'
    const first = await write({ path, content, content_type: 'text/markdown' })
    expect(JSON.parse(first.text)).toEqual({ path, size: new TextEncoder().encode(content).length })
    expect(await stored(path)).toEqual({ text: content, type: 'text/markdown;charset=utf-8' })
    expect((await write({ path, content: 'second' })).isError).toBeUndefined()
    expect(await stored(path)).toEqual({ text: 'second', type: 'text/plain;charset=utf-8' })
  })

  it('writes nothing where the person may not, and says the same as of a bucket that is not there', async () => {
    const path = `${MERIDIAN}/notes/ward.md`
    const refused = [
      await write({ path, content: 'gone' }),
      await write({ path: `${MERIDIAN}/notes/new.md`, content: 'planted' }),
      await write({ path: 'loose.md' }),
      await write({ bucket: OTHER_BUCKET, path: '2026/wages.txt', content: 'gone' }),
      await write({ bucket: 'sources', path: 'a.md' }),
      await write({ bucket: 'no-such-bucket', path: 'a.md' }),
    ]
    for (const answer of refused) expect(answer).toEqual(NOT_WRITTEN)
    expect((await stored(path))?.text).toBe(FOREIGN)
    expect(await stored(`${MERIDIAN}/notes/new.md`)).toBeNull()
    expect((await stored('2026/wages.txt', OTHER_BUCKET))?.text).toBe(SECRET)
    expect((await write({ path: `${MERIDIAN}/notes/new.md` }, meridian)).isError).toBeUndefined()
  })

  it.each([
    'text/html',
    'TEXT/HTML',
    'application/xhtml+xml',
    'image/svg+xml',
    'text/xml',
    'text/xsl',
    'text/javascript',
    'application/ecmascript',
    'text/livescript',
    'application/unknown',
  ])('stores %s, which a browser would run, as text', async (content_type) => {
    const path = `${HARBOR}/page.html`
    await write({ path, content: '<script>alert(1)</script>', content_type })
    expect(await stored(path)).toEqual({ text: '<script>alert(1)</script>', type: 'text/plain;charset=utf-8' })
  })

  it.each(['text/csv', 'application/json'])('stores %s as what it is', async (content_type) => {
    await write({ path: `${HARBOR}/data`, content_type })
    expect((await stored(`${HARBOR}/data`))?.type).toBe(`${content_type};charset=utf-8`)
  })

  it('says that a file is too large for its bucket, and keeps the one that was there', async () => {
    const path = `${HARBOR}/big.txt`
    const fits = 'y'.repeat(MAX_BUCKET_BYTES)
    expect((await write({ path, content: fits })).isError).toBeUndefined()
    const answer = await write({ path, content: `${fits}y` })
    expect(answer).toEqual({ text: 'Error: The file is too large.', isError: true })
    expect((await stored(path))?.text).toBe(fits)
  })
})
