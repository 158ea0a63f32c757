import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { ALICE, ANON_KEY, BOB, SERVICE_KEY, refused, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const files = (who: string) => stack.client(who).storage.from('files')

const text = async (who: string, path: string) => {
  const { data, error } = await files(who).download(path)
  if (error) throw error
  return await data.text()
}

describe('upload', () => {
  test('a person uploads a Blob, a string, bytes and a stream into their folder and reads them back', async () => {
    const bodies = {
      'blob.txt': new Blob(['a blob'], { type: 'text/plain' }),
      'string.txt': 'a string',
      'bytes.bin': new TextEncoder().encode('some bytes'),
      'stream.txt': Readable.toWeb(Readable.from([Buffer.from('a '), Buffer.from('stream')])) as ReadableStream,
    }
    for (const [name, body] of Object.entries(bodies)) {
      const { data, error } = await files(ALICE).upload(`${ALICE}/upload/${name}`, body)
      expect(error).toBeNull()
      expect(data).toMatchObject({ path: `${ALICE}/upload/${name}`, fullPath: `files/${ALICE}/upload/${name}` })
      expect(data?.id).toMatch(/^[0-9a-f-]{36}$/)
    }
    expect(await text(ALICE, `${ALICE}/upload/blob.txt`)).toBe('a blob')
    expect(await text(ALICE, `${ALICE}/upload/string.txt`)).toBe('a string')
    expect(await text(ALICE, `${ALICE}/upload/bytes.bin`)).toBe('some bytes')
    expect(await text(ALICE, `${ALICE}/upload/stream.txt`)).toBe('a stream')
  })

  test('type, cache control, encoding and metadata are kept and reported', async () => {
    for (const body of [new Blob(['x'], { type: 'text/css' }), 'x']) {
      const options = { contentType: 'text/css', cacheControl: '60', metadata: { lang: 'dé' }, upsert: true }
      expect((await files(ALICE).upload(`${ALICE}/info.css`, body, options)).error).toBeNull()
      const { data } = await files(ALICE).info(`${ALICE}/info.css`)
      expect(data).toMatchObject({
        contentType: 'text/css',
        cacheControl: 'max-age=60',
        size: 1,
        metadata: { lang: 'dé' },
      })
      expect(data?.etag).toBe('"9dd4e461268c8034f5c8564e155c67a6"')
    }
    const [row] = await stack.db.query('select owner_id, owner::text from storage.objects where name = $1', [
      `${ALICE}/info.css`,
    ])
    expect(row).toEqual({ owner_id: ALICE, owner: ALICE })
  })

  test('the same path again is a duplicate, with upsert or update a replacement', async () => {
    const path = `${ALICE}/again.txt`
    expect((await files(ALICE).upload(path, 'one')).error).toBeNull()
    expect(refused(await files(ALICE).upload(path, 'two'))).toEqual({
      message: 'The resource already exists',
      statusCode: '409',
    })
    expect(await text(ALICE, path)).toBe('one')
    expect((await files(ALICE).upload(path, 'three', { upsert: true })).error).toBeNull()
    expect(await text(ALICE, path)).toBe('three')
    expect((await files(ALICE).update(path, 'four')).error).toBeNull()
    expect(await text(ALICE, path)).toBe('four')
  })

  test("another person's folder, another bucket and anonymous callers are refused", async () => {
    const denied = { message: 'new row violates row-level security policy', statusCode: '403' }
    const mine = `${ALICE}/private.txt`
    expect((await files(ALICE).upload(mine, 'mine')).error).toBeNull()
    expect(refused(await files(BOB).upload(`${ALICE}/bob.txt`, 'x'))).toEqual(denied)
    expect(refused(await files(BOB).upload(mine, 'x', { upsert: true }))).toEqual(denied)
    expect(refused(await files(BOB).update(mine, 'x'))).toEqual(denied)
    expect(refused(await files('anon').upload(`${ALICE}/anon.txt`, 'x'))).toEqual(denied)
    expect(refused(await stack.client(ALICE).storage.from('locked').upload(`${ALICE}/x.txt`, 'x'))).toEqual(denied)
    expect(refused(await stack.client(ALICE).storage.from('absent').upload(`${ALICE}/x.txt`, 'x')).statusCode).toBe(
      '404',
    )
    expect(await text(ALICE, mine)).toBe('mine')
  })

  test('a request without credentials or with a forged token is refused', async () => {
    const url = `${stack.url}/storage/v1/object/files/${ALICE}/forged.txt`
    const anonymous = await fetch(url, { method: 'POST', body: 'x' })
    expect(anonymous.status).toBe(400)
    for (const token of ['nonsense', `${(await stack.token({ sub: ALICE })).slice(0, -4)}AAAA`]) {
      const forged = await fetch(url, { method: 'POST', body: 'x', headers: { authorization: `Bearer ${token}` } })
      expect(await forged.json()).toMatchObject({ statusCode: '403', error: 'Unauthorized' })
    }
    const superuser = await stack.token({ sub: ALICE, role: 'postgres' })
    const escalated = await fetch(url, { method: 'POST', body: 'x', headers: { authorization: `Bearer ${superuser}` } })
    expect(await escalated.json()).toMatchObject({ statusCode: '403' })
  })

  test('a bucket holds its size and type limits', async () => {
    const small = stack.client(ALICE).storage.from('small')
    const type = { contentType: 'text/plain;charset=UTF-8' }
    expect((await small.upload(`${ALICE}/fits.txt`, 'x'.repeat(1000), type)).error).toBeNull()
    expect((await small.upload(`${ALICE}/dot.png`, 'x', { contentType: 'image/png' })).error).toBeNull()
    expect(refused(await small.upload(`${ALICE}/long.txt`, 'x'.repeat(1001), type)).statusCode).toBe('413')
    expect(
      refused(await small.upload(`${ALICE}/long.txt`, new Blob(['x'.repeat(1001)], { type: 'text/plain' }))).statusCode,
    ).toBe('413')
    expect(refused(await small.upload(`${ALICE}/page.html`, 'x', { contentType: 'text/html' })).statusCode).toBe('415')
    const { data } = await small.list(ALICE)
    expect(data?.map((entry) => entry.name)).toEqual(['dot.png', 'fits.txt'])
  })
})

describe('download', () => {
  test('a foreign object answers exactly like an absent one', async () => {
    expect((await files(ALICE).upload(`${ALICE}/secret.txt`, 'secret')).error).toBeNull()
    const ask = async (who: string, path: string, method: string) => {
      const authorization = `Bearer ${who === 'anon' ? ANON_KEY : await stack.token({ sub: who })}`
      const response = await fetch(`${stack.url}/storage/v1/${path}`, { method, headers: { authorization } })
      return { status: response.status, body: await response.text() }
    }
    for (const route of ['object', 'object/authenticated', 'object/info', 'object/info/authenticated']) {
      for (const method of ['GET', 'HEAD']) {
        expect((await ask(ALICE, `${route}/files/${ALICE}/secret.txt`, method)).status).toBe(200)
        for (const who of [BOB, 'anon']) {
          const foreign = await ask(who, `${route}/files/${ALICE}/secret.txt`, method)
          expect(foreign.status).toBe(400)
          expect(foreign).toEqual(await ask(who, `${route}/files/${ALICE}/nothing.txt`, method))
        }
      }
    }
    expect((await files(ALICE).exists(`${ALICE}/secret.txt`)).data).toBe(true)
    expect((await files(BOB).exists(`${ALICE}/secret.txt`)).data).toBe(false)
  })

  test('a public bucket is open to everyone, a private one has no public door', async () => {
    const site = stack.client('service').storage.from('site')
    expect((await site.upload('a/logo.txt', 'logo')).error).toBeNull()
    const open = await fetch(site.getPublicUrl('a/logo.txt').data.publicUrl)
    expect([open.status, await open.text()]).toEqual([200, 'logo'])
    expect((await files(ALICE).upload(`${ALICE}/door.txt`, 'x')).error).toBeNull()
    const closed = await fetch(files(ALICE).getPublicUrl(`${ALICE}/door.txt`).data.publicUrl)
    expect(closed.status).toBe(400)
    expect(await closed.json()).toMatchObject({ statusCode: '404', error: 'Bucket not found' })
    expect(refused(await stack.client('anon').storage.from('site').upload('a/logo.txt', 'x')).statusCode).toBe('403')
  })
})

describe('list', () => {
  test('shows one level: folders with null ids first, then files, paged, sorted and searched', async () => {
    const base = `${ALICE}/list`
    for (const path of ['b.txt', 'a.txt', 'c_1.txt', 'sub/x.txt', 'sub/deep/y.txt', 'tub/z.txt']) {
      expect((await files(ALICE).upload(`${base}/${path}`, path)).error).toBeNull()
    }
    const names = async (options?: object) => (await files(ALICE).list(base, options)).data?.map((entry) => entry.name)
    expect(await names()).toEqual(['sub', 'tub', 'a.txt', 'b.txt', 'c_1.txt'])
    expect(await names({ limit: 2, offset: 1 })).toEqual(['tub', 'a.txt'])
    expect(await names({ sortBy: { column: 'name', order: 'desc' } })).toEqual([
      'tub',
      'sub',
      'c_1.txt',
      'b.txt',
      'a.txt',
    ])
    expect(await names({ sortBy: { column: 'created_at' } })).toEqual(['sub', 'tub', 'b.txt', 'a.txt', 'c_1.txt'])
    expect(await names({ search: 'C_' })).toEqual(['c_1.txt'])
    expect(await names({ search: '%' })).toEqual([])
    const { data } = await files(ALICE).list(`${base}/`)
    expect(data?.[0]).toEqual({
      name: 'sub',
      id: null,
      updated_at: null,
      created_at: null,
      last_accessed_at: null,
      metadata: null,
    })
    expect(data?.[2]).toMatchObject({ name: 'a.txt', metadata: { size: 5, mimetype: 'text/plain;charset=UTF-8' } })
    expect(data?.[2]?.created_at).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  })

  test('listV2 pages through keys and groups folders', async () => {
    const base = `${ALICE}/listv2/`
    for (const path of ['a', 'b/1', 'b/2', 'c']) await files(ALICE).upload(base + path, path)
    const first = await files(ALICE).listV2({ prefix: base, with_delimiter: true, limit: 2 })
    expect(first.data?.objects.map((object) => object.name)).toEqual([`${base}a`])
    expect(first.data?.folders.map((folder) => folder.name)).toEqual([`${base}b/`])
    expect(first.data?.hasNext).toBe(true)
    const cursor = first.data?.nextCursor ?? ''
    const second = await files(ALICE).listV2({ prefix: base, with_delimiter: true, limit: 2, cursor })
    expect(second.data).toMatchObject({ hasNext: false, folders: [], objects: [{ name: `${base}c`, key: 'c' }] })
    const byTime = await files(ALICE).listV2({ prefix: base, sortBy: { column: 'created_at', order: 'desc' } })
    expect(byTime.data?.objects.map((object) => object.name)).toEqual(
      ['c', 'b/2', 'b/1', 'a'].map((name) => base + name),
    )
  })

  test('shows nobody what they may not read', async () => {
    expect((await files(ALICE).list('')).data?.map((entry) => entry.name)).toEqual([ALICE])
    for (const who of [BOB, 'anon']) {
      expect((await files(who).list('')).data).toEqual([])
      expect((await files(who).list(`${ALICE}/list`)).data).toEqual([])
      expect((await files(who).listV2({ prefix: ALICE })).data).toMatchObject({ objects: [], folders: [] })
    }
  })
})

describe('remove, move and copy', () => {
  test('remove deletes own files, returns them, and leaves those of others alone', async () => {
    const path = `${ALICE}/remove.txt`
    await files(ALICE).upload(path, 'x')
    expect((await files(BOB).remove([path])).data).toEqual([])
    expect((await files('anon').remove([path])).data).toEqual([])
    expect(await text(ALICE, path)).toBe('x')
    const { data } = await files(ALICE).remove([path, `${ALICE}/absent.txt`, '../odd'])
    expect(data?.map((entry) => entry.name)).toEqual([path])
    expect((await files(ALICE).download(path)).error).not.toBeNull()
  })

  test('DELETE of one object succeeds for its owner and is not found by others', async () => {
    await files(ALICE).upload(`${ALICE}/one.txt`, 'x')
    const remove = async (who: string) => {
      const headers = { authorization: `Bearer ${await stack.token({ sub: who })}` }
      return (
        await fetch(`${stack.url}/storage/v1/object/files/${ALICE}/one.txt`, { method: 'DELETE', headers })
      ).json()
    }
    expect(await remove(BOB)).toMatchObject({ statusCode: '404' })
    expect(await remove(ALICE)).toEqual({ message: 'Successfully deleted' })
    expect(await remove(ALICE)).toMatchObject({ statusCode: '404' })
  })

  test('move renames within and across buckets', async () => {
    await files(ALICE).upload(`${ALICE}/old.txt`, 'moved', { contentType: 'text/plain' })
    expect((await files(ALICE).move(`${ALICE}/old.txt`, `${ALICE}/new.txt`)).error).toBeNull()
    expect(await text(ALICE, `${ALICE}/new.txt`)).toBe('moved')
    expect((await files(ALICE).download(`${ALICE}/old.txt`)).error).not.toBeNull()
    const across = await files(ALICE).move(`${ALICE}/new.txt`, `${ALICE}/new.txt`, { destinationBucket: 'small' })
    expect(across.error).toBeNull()
    const { data } = await stack.client(ALICE).storage.from('small').download(`${ALICE}/new.txt`)
    expect(await data?.text()).toBe('moved')
  })

  test('copy doubles the bytes; deleting one leaves the other', async () => {
    await files(ALICE).upload(`${ALICE}/source.txt`, 'copied', { metadata: { a: '1' } })
    expect((await files(ALICE).copy(`${ALICE}/source.txt`, `${ALICE}/copy.txt`)).data?.path).toBe(
      `files/${ALICE}/copy.txt`,
    )
    const fresh = { copyMetadata: false, metadata: { mimetype: 'text/css', cacheControl: 'max-age=1' } }
    expect((await files(ALICE).copy(`${ALICE}/source.txt`, `${ALICE}/fresh.css`, fresh)).error).toBeNull()
    expect((await files(ALICE).info(`${ALICE}/copy.txt`)).data?.metadata).toEqual({ a: '1' })
    expect((await files(ALICE).info(`${ALICE}/fresh.css`)).data).toMatchObject({
      contentType: 'text/css',
      cacheControl: 'max-age=1',
    })
    await files(ALICE).remove([`${ALICE}/source.txt`])
    expect(await text(ALICE, `${ALICE}/copy.txt`)).toBe('copied')
  })

  test('neither reaches, overwrites or plants into what belongs to someone else', async () => {
    await files(ALICE).upload(`${ALICE}/target.txt`, 'alice')
    await files(BOB).upload(`${BOB}/mine.txt`, 'bob')
    const bob = files(BOB)
    for (const act of ['move', 'copy'] as const) {
      expect(refused(await bob[act](`${ALICE}/target.txt`, `${BOB}/stolen.txt`)).statusCode).toBe('404')
      expect(refused(await bob[act](`${ALICE}/absent.txt`, `${BOB}/stolen.txt`)).statusCode).toBe('404')
      expect(refused(await bob[act](`${BOB}/mine.txt`, `${ALICE}/target.txt`)).statusCode).toBe('403')
      expect(refused(await bob[act](`${BOB}/mine.txt`, `${ALICE}/planted.txt`)).statusCode).toBe('403')
      expect(refused(await bob[act](`${BOB}/mine.txt`, `${BOB}/x`, { destinationBucket: 'locked' })).statusCode).toBe(
        '403',
      )
    }
    await files(BOB).upload(`${BOB}/other.txt`, 'other')
    expect(refused(await bob.move(`${BOB}/mine.txt`, `${BOB}/other.txt`)).statusCode).toBe('409')
    expect(await text(ALICE, `${ALICE}/target.txt`)).toBe('alice')
    expect(await text(BOB, `${BOB}/mine.txt`)).toBe('bob')
  })
})

test('policies see the operation and the headers of the request', async () => {
  await stack.db.exec(`create policy "anyone lists and names the tenant" on storage.objects for select to anon using (
    bucket_id = 'locked' and storage.allow_only_operation('object.list')
    and current_setting('request.headers')::json ->> 'x-tenant-id' = 'seven')`)
  expect((await stack.client('service').storage.from('locked').upload('seen.txt', 'x')).error).toBeNull()
  const locked = stack.client('anon').storage.from('locked')
  expect((await locked.list()).data).toEqual([])
  const named = await fetch(`${stack.url}/storage/v1/object/list/locked`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ANON_KEY}`, 'x-tenant-id': 'seven', 'content-type': 'application/json' },
    body: JSON.stringify({ prefix: '' }),
  })
  expect(await named.json()).toMatchObject([{ name: 'seen.txt' }])
  expect((await locked.download('seen.txt')).error).not.toBeNull()
})

test('what the local stack does not offer is refused by name', async () => {
  const headers = { authorization: `Bearer ${SERVICE_KEY}` }
  for (const path of ['upload/resumable', 'render/image/public/site/a.png', 'cdn/site/a.png']) {
    const response = await fetch(`${stack.url}/storage/v1/${path}`, { method: 'POST', headers })
    expect(await response.json()).toMatchObject({ statusCode: '501', code: 'NotSupported' })
  }
  const unknown = await fetch(`${stack.url}/storage/v1/nothing`, { headers })
  expect(await unknown.json()).toMatchObject({ statusCode: '404', code: 'NoSuchRoute' })
})
