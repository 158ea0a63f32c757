import { describe, expect, test } from 'vitest'
import { formBoundary, readForm, readText } from '../../local/storage/form.ts'
import { isValidBucketName, isValidKey, parseSize, requireMimeType } from '../../local/storage/names.ts'

describe('readForm', () => {
  const body = [
    '--b\r\ncontent-disposition: form-data; name="a"\r\n\r\none\r\n',
    '--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/css\r\n\r\n',
    'line\r\n--not the boundary\r\n-\r\n--b--\r\n',
  ].join('')

  const parse = async (text: string, chunkSize: number) => {
    const chunks = async function* () {
      for (let i = 0; i < text.length; i += chunkSize) yield Buffer.from(text.slice(i, i + chunkSize))
    }
    const parts: unknown[] = []
    for await (const { name, filename, contentType, bytes } of readForm(chunks(), 'b')) {
      parts.push({ name, filename, contentType, text: await readText(bytes, 1000) })
    }
    return parts
  }

  test.each([1, 2, 3, 7, 50, 10_000])('finds the same parts in chunks of %i bytes', async (size) => {
    expect(await parse(body, size)).toEqual([
      { name: 'a', filename: undefined, contentType: undefined, text: 'one' },
      { name: 'f', filename: 'x.txt', contentType: 'text/css', text: 'line\r\n--not the boundary\r\n-' },
    ])
  })

  test('every truncation is an error', async () => {
    const end = body.lastIndexOf('--b--') + 5
    for (let length = 0; length < end; length++) {
      await expect(parse(body.slice(0, length), 13), `${length} bytes`).rejects.toMatchObject({
        code: 'InvalidRequest',
      })
    }
    expect(await parse(body.slice(0, end), 13)).toHaveLength(2)
  })

  test('reads the boundary of a form and of nothing else', () => {
    expect(formBoundary('multipart/form-data; boundary=abc')).toBe('abc')
    expect(formBoundary('multipart/form-data; charset=utf-8; boundary="a b"')).toBe('a b')
    expect(formBoundary('multipart/mixed; boundary=abc')).toBeUndefined()
    expect(formBoundary('multipart/form-data; boundary=')).toBeUndefined()
  })
})

describe('names', () => {
  test.each(['a', 'a/b.txt', "A-_.!*'()/& $@=;:+,?", 'a..b/c.', '...', 'x'.repeat(1024)])('%s is a key', (key) => {
    expect(isValidKey(key)).toBe(true)
  })

  test.each([
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    'a/../b',
    './a',
    'a/.',
    'é',
    'a\0',
    'a\n',
    'a\\b',
    '~',
    '#',
    '%2e',
    'x'.repeat(1025),
  ])('%j is no key', (key) => {
    expect(isValidKey(key)).toBe(false)
  })

  test('bucket names have no slashes and at most 63 characters', () => {
    expect(['files', 'a.b-c_d', 'x'.repeat(63)].every(isValidBucketName)).toBe(true)
    expect(['', '.', '..', 'a/b', 'x'.repeat(64), 'ü'].some(isValidBucketName)).toBe(false)
  })

  test('sizes are read as the platform and config.toml write them', () => {
    expect(['1MB', '50MiB', '20kb', '3B', 7, '1.5GB'].map(parseSize)).toEqual([1e6, 52428800, 20000, 3, 7, 1.5e9])
    for (const size of ['', 'MB', '-1MB', '1TB', '1 e3', 'NaN']) expect(() => parseSize(size)).toThrow()
  })

  test('media types match the list of a bucket', () => {
    expect(requireMimeType('Image/PNG; a=b', ['image/*'])).toBe('Image/PNG; a=b')
    expect(requireMimeType('text/plain', null)).toBe('text/plain')
    for (const type of ['text/plain', 'imagex/png', 'image/', 'image', 'image/png\n']) {
      expect(() => requireMimeType(type, ['image/*'])).toThrow(/is not supported/)
    }
  })
})
