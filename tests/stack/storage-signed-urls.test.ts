import { describe, expect, test } from 'vitest'
import { jwtVerify, SignJWT, decodeJwt } from 'jose'
import { ALICE, BOB, JWT_SECRET, refused, useStorageStack } from './storage-support.ts'

const stack = useStorageStack()
const files = (who: string) => stack.client(who).storage.from('files')

const signed = async (path: string, expiresIn = 60, options?: object) => {
  const { data, error } = await files(ALICE).createSignedUrl(path, expiresIn, options)
  if (error) throw error
  return new URL(data.signedUrl)
}
const answer = async (url: URL, init?: RequestInit) => {
  const response = await fetch(url, init)
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: text.startsWith('{') ? JSON.parse(text) : {},
  }
}

describe('signed download URLs', () => {
  test('open without any key, as attachment when asked, until they expire', async () => {
    const path = `${ALICE}/a report & more.txt`
    await files(ALICE).upload(path, 'report', { contentType: 'text/plain' })
    const plain = await answer(await signed(path))
    expect([plain.status, plain.text]).toEqual([200, 'report'])
    expect(plain.headers.get('content-disposition')).toBeNull()
    const attached = await answer(await signed(path, 60, { download: true }))
    expect(attached.headers.get('content-disposition')).toBe('attachment;')
    const named = await signed(path, 60, { download: 'final.txt' })
    expect((await answer(named)).headers.get('content-disposition')).toBe(
      "attachment; filename=final.txt; filename*=UTF-8''final.txt;",
    )
    named.searchParams.set('download', 'Q3 "final".txt')
    expect((await answer(named)).headers.get('content-disposition')).toBe(
      "attachment; filename=Q3%20%22final%22.txt; filename*=UTF-8''Q3%20%22final%22.txt;",
    )
    const brief = await signed(path, 1)
    expect((await answer(brief)).status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 2100))
    expect((await answer(brief)).body).toMatchObject({ statusCode: '400', error: 'InvalidJWT' })
  })

  test('many at once: what the caller may not read gets an error like what is absent', async () => {
    await files(ALICE).upload(`${ALICE}/many.txt`, 'x')
    const absent = { error: 'Either the object does not exist or you do not have access to it', signedUrl: null }
    const asked = [`${ALICE}/many.txt`, `${ALICE}/absent.txt`, '../x']
    const mine = (await files(ALICE).createSignedUrls(asked, 60)).data
    expect(mine).toMatchObject([
      { error: null, path: asked[0] },
      { path: asked[1], ...absent },
      { path: asked[2], ...absent },
    ])
    expect((await answer(new URL(mine?.[0]?.signedUrl ?? ''))).text).toBe('x')
    expect((await files(BOB).createSignedUrls(asked, 60)).data).toMatchObject(
      asked.map((path) => ({ path, ...absent })),
    )
  })

  test('are not made for others, for the absent, or for no time', async () => {
    await files(ALICE).upload(`${ALICE}/signme.txt`, 'x')
    for (const who of [BOB, 'anon']) {
      expect(refused(await files(who).createSignedUrl(`${ALICE}/signme.txt`, 60))).toEqual(
        refused(await files(ALICE).createSignedUrl(`${ALICE}/absent.txt`, 60)),
      )
    }
    expect(refused(await files(ALICE).createSignedUrl(`${ALICE}/signme.txt`, 0)).statusCode).toBe('400')
  })

  test('are bound to the object, the method and the purpose', async () => {
    await files(ALICE).upload(`${ALICE}/bound.txt`, 'bound')
    await files(ALICE).upload(`${ALICE}/other.txt`, 'other')
    const url = await signed(`${ALICE}/bound.txt`)
    expect((await answer(url, { method: 'HEAD' })).status).toBe(200)

    const other = new URL(url.href.replace('bound.txt', 'other.txt'))
    expect((await answer(other)).body).toMatchObject({ statusCode: '400', error: 'InvalidSignature' })
    for (const method of ['PUT', 'POST', 'DELETE']) expect((await answer(url, { method, body: 'x' })).status).toBe(400)
    const upload = new URL(url.href.replace('/object/sign/', '/object/upload/sign/'))
    expect((await answer(upload, { method: 'PUT', body: 'x' })).body).toMatchObject({ error: 'InvalidJWT' })
    const token = url.searchParams.get('token') ?? ''
    const bearer = await answer(new URL(`${stack.url}/storage/v1/object/files/${ALICE}/other.txt`), {
      headers: { authorization: `Bearer ${token}` },
    })
    expect(bearer.body).toMatchObject({ statusCode: '403' })
    expect((await answer(url)).text).toBe('bound')
  })

  test('a token tampered with, unsigned, foreign or absent is refused', async () => {
    const path = `files/${ALICE}/tamper.txt`
    await files(ALICE).upload(`${ALICE}/tamper.txt`, 'x')
    const url = await signed(`${ALICE}/tamper.txt`)
    const token = url.searchParams.get('token') ?? ''
    const [head, payload, signature] = token.split('.') as [string, string, string]
    const longer = Buffer.from(JSON.stringify({ ...decodeJwt(token), exp: 4102444800 })).toString('base64url')
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`
    const withSecret = await new SignJWT({ url: path })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(JWT_SECRET))
    const user = await stack.token({ sub: ALICE, url: path })
    for (const forged of [`${head}.${longer}.${signature}`, unsigned, withSecret, user, '']) {
      url.searchParams.set('token', forged)
      expect((await answer(url)).body).toMatchObject({ statusCode: '400', error: 'InvalidJWT' })
    }
    url.searchParams.set('token', token)
    expect((await answer(url)).text).toBe('x')
    await expect(jwtVerify(token, new TextEncoder().encode(JWT_SECRET))).rejects.toThrow()
  })

  test('end with the object they were made for', async () => {
    await files(ALICE).upload(`${ALICE}/gone.txt`, 'x')
    const url = await signed(`${ALICE}/gone.txt`)
    await files(ALICE).remove([`${ALICE}/gone.txt`])
    expect((await answer(url)).body).toMatchObject({ statusCode: '404', error: 'not_found' })
  })
})

describe('signed upload URLs', () => {
  test('take one file without any key, for the person who asked', async () => {
    const path = `${ALICE}/inbox/a.txt`
    const { data } = await files(ALICE).createSignedUploadUrl(path)
    expect(data?.path).toBe(path)
    const uploaded = await files('anon').uploadToSignedUrl(
      path,
      data?.token ?? '',
      new Blob(['sent'], { type: 'text/plain' }),
    )
    expect(uploaded.data).toMatchObject({ path, fullPath: `files/${path}` })
    expect(await (await files(ALICE).download(path)).data?.text()).toBe('sent')
    const [row] = await stack.db.query('select owner_id from storage.objects where name = $1', [path])
    expect(row).toEqual({ owner_id: ALICE })
    expect(refused(await files('anon').uploadToSignedUrl(path, data?.token ?? '', 'again')).statusCode).toBe('409')
    const again = await files(ALICE).createSignedUploadUrl(path, { upsert: true })
    expect((await files('anon').uploadToSignedUrl(path, again.data?.token ?? '', 'again')).error).toBeNull()
    expect(await (await files(ALICE).download(path)).data?.text()).toBe('again')
  })

  test('are refused where the caller may not write, and for another path or purpose', async () => {
    expect(refused(await files(BOB).createSignedUploadUrl(`${ALICE}/bob.txt`)).statusCode).toBe('403')
    expect(refused(await files('anon').createSignedUploadUrl(`${ALICE}/anon.txt`)).statusCode).toBe('403')
    const { data } = await files(BOB).createSignedUploadUrl(`${BOB}/mine.txt`)
    const token = data?.token ?? ''
    expect(refused(await files(BOB).uploadToSignedUrl(`${ALICE}/mine.txt`, token, 'x')).message).toBe(
      'Invalid signature',
    )
    expect((await files(BOB).uploadToSignedUrl(`${BOB}/mine.txt`, token, 'x')).error).toBeNull()
    const read = await answer(new URL(`${stack.url}/storage/v1/object/sign/files/${BOB}/mine.txt?token=${token}`))
    expect(read.body).toMatchObject({ error: 'InvalidJWT' })
  })

  test('the limits of the bucket still hold', async () => {
    const small = stack.client(ALICE).storage.from('small')
    const { data } = await small.createSignedUploadUrl(`${ALICE}/s.txt`)
    const options = { contentType: 'text/plain' }
    expect(
      refused(await small.uploadToSignedUrl(`${ALICE}/s.txt`, data?.token ?? '', 'x'.repeat(2000), options)).statusCode,
    ).toBe('413')
    expect((await small.uploadToSignedUrl(`${ALICE}/s.txt`, data?.token ?? '', 'x', options)).error).toBeNull()
  })
})
