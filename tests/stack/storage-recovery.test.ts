import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openFileStore, type FileStore, type ObjectRef } from '../../local/storage/files.ts'
import { ObjectStore, SERVICE } from '../../local/storage/object-store.ts'
import { during } from '../../local/storage/caller.ts'
import type { Database } from '../../local/database/database.ts'
import { useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const caller = during(SERVICE, 'storage.object.upload')
const folders: string[] = []
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
})

const newFolder = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'storage-recovery-'))
  folders.push(folder)
  return folder
}
const bytes = async function* (text: string) {
  yield Buffer.from(text)
}
const spec = (name: string, upsert = true) => ({
  ...{ bucketId: 'files', name, upsert, ownerId: null, mimetype: 'text/plain', cacheControl: 'no-cache' },
  userMetadata: null,
})
const put = async (store: ObjectStore, name: string, text: string) =>
  await store.put(caller, spec(name), await store.files.receive(bytes(text), { maxBytes: 100 }))
const storedFiles = async (root: string) =>
  (await readdir(join(root, 'objects'), { recursive: true })).filter((name) => name.includes('.'))
const textOf = async (store: ObjectStore, name: string) => {
  const file = await store.bytes(await store.find(caller, { bucketId: 'files', name }))
  return await new Response(file.stream(0, file.sizeBytes - 1)).text()
}

/** A file store that stops working, as a killed process does, at one named step. */
function dyingAt(files: FileStore, step: keyof FileStore): FileStore {
  let dead = false
  return new Proxy(files, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      return async (...args: unknown[]) => {
        if (name === step) dead = true
        if (dead) throw new Error(`killed at ${step}`)
        return (await Reflect.apply(value, target, args)) as unknown
      }
    },
  })
}

describe('after a crash', () => {
  beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => {}))
  afterEach(() => void vi.restoreAllMocks())

  test('bytes placed for a transaction that never committed are removed', async () => {
    const root = await newFolder()
    const files = await openFileStore(root)
    const ref: ObjectRef = { bucketId: 'files', name: 'never.txt', version: crypto.randomUUID() }
    await files.writeJournal([ref])
    await files.place(await files.receive(bytes('never'), { maxBytes: 100 }), ref)
    await files.receive(bytes('half'), { maxBytes: 100 })
    expect(await storedFiles(root)).toHaveLength(1)
    expect(await readdir(join(root, 'tmp'))).toHaveLength(1)

    const reopened = await openFileStore(root)
    expect(await readdir(join(root, 'tmp'))).toEqual([])
    const store = new ObjectStore({ db: stack.db, files: reopened, fileSizeLimit: 100 })
    expect(await store.recover()).toEqual({ changes: 1, removedFiles: 1 })
    expect(await storedFiles(root)).toEqual([])
    expect(await store.recover()).toEqual({ changes: 0, removedFiles: 0 })
  })

  test('killed between commit and clean-up: the new version stays, the replaced one goes', async () => {
    const root = await newFolder()
    const files = await openFileStore(root)
    await put(new ObjectStore({ db: stack.db, files, fileSizeLimit: 100 }), 'replaced.txt', 'old')
    const dying = new ObjectStore({ db: stack.db, files: dyingAt(files, 'remove'), fileSizeLimit: 100 })
    await expect(put(dying, 'replaced.txt', 'new')).rejects.toThrow('killed')
    expect(console.error).toHaveBeenCalledWith('storage: a change is left to the next start', expect.any(Error))
    expect(await storedFiles(root)).toHaveLength(2)

    const store = new ObjectStore({ db: stack.db, files: await openFileStore(root), fileSizeLimit: 100 })
    expect(await textOf(store, 'replaced.txt')).toBe('new')
    expect(await store.recover()).toEqual({ changes: 1, removedFiles: 1 })
    expect(await storedFiles(root)).toHaveLength(1)
    expect(await textOf(store, 'replaced.txt')).toBe('new')
  })

  test('killed before the bytes are placed: the old version stays whole', async () => {
    const root = await newFolder()
    const files = await openFileStore(root)
    await put(new ObjectStore({ db: stack.db, files, fileSizeLimit: 100 }), 'kept.txt', 'old')
    const dying = new ObjectStore({ db: stack.db, files: dyingAt(files, 'place'), fileSizeLimit: 100 })
    await expect(put(dying, 'kept.txt', 'new')).rejects.toThrow('killed')

    const store = new ObjectStore({ db: stack.db, files: await openFileStore(root), fileSizeLimit: 100 })
    await store.recover()
    expect(await textOf(store, 'kept.txt')).toBe('old')
    expect(await storedFiles(root)).toHaveLength(1)
  })

  test('killed after deleting the row: the bytes go at the next start', async () => {
    const root = await newFolder()
    const files = await openFileStore(root)
    await put(new ObjectStore({ db: stack.db, files, fileSizeLimit: 100 }), 'deleted.txt', 'x')
    const dying = new ObjectStore({ db: stack.db, files: dyingAt(files, 'remove'), fileSizeLimit: 100 })
    await dying.remove(caller, 'files', ['deleted.txt'])
    expect(await storedFiles(root)).toHaveLength(1)
    const store = new ObjectStore({ db: stack.db, files: await openFileStore(root), fileSizeLimit: 100 })
    expect(await store.recover()).toEqual({ changes: 1, removedFiles: 1 })
    expect(await storedFiles(root)).toEqual([])
  })

  test('a commit whose answer is lost keeps its bytes', async () => {
    const root = await newFolder()
    const files = await openFileStore(root)
    let lose = true
    const losing: Database = {
      ...stack.db,
      async asCaller(who, work) {
        const result = await stack.db.asCaller(who, work)
        if (lose && who !== SERVICE) throw new Error('connection lost after commit')
        return result
      },
    }
    const store = new ObjectStore({ db: losing, files, fileSizeLimit: 100 })
    await expect(put(store, 'lost.txt', 'kept')).rejects.toThrow('connection lost')
    lose = false
    expect(await textOf(store, 'lost.txt')).toBe('kept')
  })

  test('a half-written journal is dropped, and files of rows elsewhere are left alone', async () => {
    const root = await newFolder()
    const files = await openFileStore(root)
    const unrelated: ObjectRef = { bucketId: 'files', name: 'of-another-database.txt', version: crypto.randomUUID() }
    await files.place(await files.receive(bytes('x'), { maxBytes: 100 }), unrelated)
    await writeFile(join(root, 'journal', `${crypto.randomUUID()}.tmp`), '[{"buck')
    const store = new ObjectStore({ db: stack.db, files: await openFileStore(root), fileSizeLimit: 100 })
    expect(await store.recover()).toEqual({ changes: 0, removedFiles: 0 })
    expect(await readdir(join(root, 'journal'))).toEqual([])
    expect(await storedFiles(root)).toHaveLength(1)
  })
})

test('50 writers of one key leave one row and one file', async () => {
  const root = await newFolder()
  const store = new ObjectStore({ db: stack.db, files: await openFileStore(root), fileSizeLimit: 100 })
  await Promise.all(Array.from({ length: 50 }, (_, i) => put(store, 'contended.txt', `writer ${i}`)))
  expect(await textOf(store, 'contended.txt')).toMatch(/^writer \d+$/)
  expect(await storedFiles(root)).toHaveLength(1)
  expect(await readdir(join(root, 'journal'))).toEqual([])
})

test('a row that claims the version of another object does not reach its bytes', async () => {
  const root = await newFolder()
  const store = new ObjectStore({ db: stack.db, files: await openFileStore(root), fileSizeLimit: 100 })
  const victim = await put(store, 'victim.txt', 'secret')
  await put(store, 'thief.txt', 'mine')
  await stack.db.query(`update storage.objects set version = $1 where name = 'thief.txt'`, [victim.version])
  await expect(textOf(store, 'thief.txt')).rejects.toMatchObject({ code: 'NoSuchKey' })
  expect(await textOf(store, 'victim.txt')).toBe('secret')
})

test('a reader keeps the version it began with', async () => {
  const root = await newFolder()
  const store = new ObjectStore({ db: stack.db, files: await openFileStore(root), fileSizeLimit: 1e6 })
  const text = 'x'.repeat(200_000)
  const received = await store.files.receive(bytes(text), { maxBytes: 1e6 })
  const file = await store.bytes(await store.put(caller, spec('read.txt'), received))
  const reader = file.stream(0, file.sizeBytes - 1).getReader()
  let size = (await reader.read()).value?.byteLength ?? 0
  await put(store, 'read.txt', 'second')
  await store.remove(caller, 'files', ['read.txt'])
  for (let next = await reader.read(); !next.done; next = await reader.read()) size += next.value.byteLength
  expect(size).toBe(text.length)
})
