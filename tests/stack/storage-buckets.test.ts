import { describe, expect, test } from 'vitest'
import { ALICE, refused, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const service = () => stack.client('service').storage

describe('buckets', () => {
  test('the service key creates, reads, changes, lists, empties and deletes', async () => {
    const options = { public: false, fileSizeLimit: '1MB', allowedMimeTypes: ['text/plain'] }
    expect((await service().createBucket('team', options)).data).toEqual({ name: 'team' })
    expect((await service().getBucket('team')).data).toMatchObject({
      id: 'team',
      name: 'team',
      public: false,
      file_size_limit: 1_000_000,
      allowed_mime_types: ['text/plain'],
      type: 'STANDARD',
    })
    expect((await service().updateBucket('team', { public: true, fileSizeLimit: null })).error).toBeNull()
    expect((await service().getBucket('team')).data).toMatchObject({
      public: true,
      file_size_limit: null,
      allowed_mime_types: ['text/plain'],
    })
    const sorted = { search: 'TEAM', sortColumn: 'created_at', sortOrder: 'desc', limit: 1 } as const
    expect((await service().listBuckets(sorted)).data?.map((bucket) => bucket.id)).toEqual(['team'])

    await service().from('team').upload('a.txt', 'x', { contentType: 'text/plain' })
    expect(refused(await service().deleteBucket('team'))).toMatchObject({ statusCode: '409' })
    expect((await service().emptyBucket('team')).error).toBeNull()
    expect((await service().from('team').list()).data).toEqual([])
    expect((await service().deleteBucket('team')).error).toBeNull()
    expect(refused(await service().getBucket('team'))).toEqual({ message: 'Bucket not found', statusCode: '404' })
  })

  test('without a policy nobody else sees or changes any bucket, and existing look like absent ones', async () => {
    for (const who of [ALICE, 'anon']) {
      const { storage } = stack.client(who)
      expect((await storage.listBuckets()).data).toEqual([])
      expect(refused(await storage.createBucket('mine'))).toMatchObject({ statusCode: '403' })
      for (const act of [
        (id: string) => storage.getBucket(id),
        (id: string) => storage.updateBucket(id, { public: true }),
        (id: string) => storage.emptyBucket(id),
        (id: string) => storage.deleteBucket(id),
      ]) {
        expect(refused(await act('files'))).toEqual({ message: 'Bucket not found', statusCode: '404' })
        expect(refused(await act('absent'))).toEqual(refused(await act('files')))
      }
    }
    expect((await service().getBucket('files')).data?.public).toBe(false)
  })

  test('a policy on storage.buckets opens exactly what it says', async () => {
    await stack.db.exec(
      `create policy "people see the site" on storage.buckets for select to authenticated using (id = 'site')`,
    )
    const { storage } = stack.client(ALICE)
    expect((await storage.listBuckets()).data?.map((bucket) => bucket.id)).toEqual(['site'])
    expect((await storage.getBucket('site')).data?.id).toBe('site')
    expect(refused(await storage.updateBucket('site', { public: false })).statusCode).toBe('404')
  })

  test('bad names, sizes and duplicates are refused', async () => {
    for (const name of ['', '..', 'a/b', 'ünï', 'x'.repeat(64), 'nul\0']) {
      expect(refused(await service().createBucket(name)).statusCode).toBe('400')
    }
    expect(refused(await service().createBucket('files')).statusCode).toBe('409')
    expect(refused(await service().createBucket('big', { public: false, fileSizeLimit: '1TB' })).statusCode).toBe('400')
    expect(refused(await service().createBucket('big', { public: false, fileSizeLimit: '1GB' })).statusCode).toBe('413')
    expect(refused(await service().createBucket('ice', { public: false, type: 'ANALYTICS' })).statusCode).toBe('400')
  })

  test('SQL does not delete objects behind the API', async () => {
    await expect(stack.db.exec(`delete from storage.objects`)).rejects.toThrow(/Use the Storage API/)
    await expect(stack.db.exec(`delete from storage.buckets`)).rejects.toThrow(/Use the Storage API/)
  })
})
