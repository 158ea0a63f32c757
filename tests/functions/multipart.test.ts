import { describe, expect, it } from 'vitest'
import { MAX_PARTS, MultipartError, parseMultipart } from '../../supabase/functions/_shared/multipart.ts'

const TYPE = 'multipart/form-data; boundary=b'
const bytesOf = (text: string) => new TextEncoder().encode(text)
const parse = (body: string, type = TYPE) => parseMultipart(bytesOf(body), type)
const part = (disposition: string, content: string, more = '') =>
  `--b\r\nContent-Disposition: form-data; ${disposition}\r\n${more}\r\n${content}\r\n`
const fileIn = (form: FormData) => form.get('file') as File
const nameOf = (disposition: string) => fileIn(parse(`${part(disposition, 'x')}--b--`)).name

/** The bytes and the type that this platform sends for a form. */
async function sent(form: FormData): Promise<FormData> {
  const response = new Response(form)
  return parseMultipart(new Uint8Array(await response.arrayBuffer()), response.headers.get('content-type')!)
}

describe('a form as it is sent', () => {
  it.each([
    'a.md',
    'a; b.md',
    "x;filename='y'.md",
    'a=b.md',
    'a"b".md',
    'two\\back.md',
    '“ü” 😀.md',
    ' a .md',
    'a\r\nb.md',
    'a%2Fb.md',
    '../a/b.md',
  ])('keeps the name %j of a file', async (name) => {
    const form = new FormData()
    form.append('file', new File(['x'], name))
    expect(fileIn(await sent(form)).name).toBe(name)
  })

  it('keeps fields, their order and repetitions, and bytes of any kind', async () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, n) => n % 256)
    const form = new FormData()
    form.append('a;"b"=\n', '1')
    form.append('file', new File([bytes], 'x.bin', { type: 'application/x-own' }))
    form.append('a', 'zwei\r\n--not the boundary\r\n😀')
    form.append('a', '')
    const read = await sent(form)
    expect([...read.keys()]).toEqual([...form.keys()].map((key) => key.replace('\n', '\r\n')))
    expect(read.getAll('a')).toEqual(form.getAll('a'))
    expect(fileIn(read).type).toBe('application/x-own')
    expect(new Uint8Array(await fileIn(read).arrayBuffer())).toEqual(bytes)
  })
})

describe('the name of a file', () => {
  it.each([
    ['name="file"; filename="a\\"b\\\\c.md"', 'a"b\\c.md'],
    ['name="file"; filename="a%22b%0D%0Ac%41.md"', 'a"b\r\nc%41.md'],
    ['name=file; filename=plain.md', 'plain.md'],
    ['filename="first; name=x.md" ; NAME = "file"', 'first; name=x.md'],
    ['name="file"; filename="euro.md"; filename*=UTF-8\'\'%e2%82%ac%3B.md', '€;.md'],
    ['name="file"; filename*=utf-8\'de\'%C3%BC.md', 'ü.md'],
    ['name="file"; filename="plain.md"; filename*=UTF-8\'\'%ff.md', 'plain.md'],
    ['name="file"; filename="plain.md"; filename*=ISO-8859-1\'\'%fc.md', 'plain.md'],
  ])('is read from %s', (disposition, name) => {
    expect(nameOf(disposition)).toBe(name)
  })
})

describe('a boundary', () => {
  it('is quoted or not, whatever the case', () => {
    const body = `--b;=\r\ncontent-disposition:form-data; name="a"\r\n\r\n1\r\n--b;=--`
    expect(parse(body, 'Multipart/Form-Data; charset=utf-8; Boundary="b;="').get('a')).toBe('1')
    expect(() => parse(body, TYPE)).toThrow(MultipartError)
  })

  it('ends a part only where it is the whole line', () => {
    const content = '--b\r-\r\n--bc\r\n--b-\r\n-- b\r\n --b\r\nb--b\n--b--\n'
    const form = parse(`${part('name="a"', content)}${part('name="c"', '2')}--b--`)
    expect([form.get('a'), form.get('c')]).toEqual([content, '2'])
  })

  it('may be followed by blanks, and have something before the first and after the last', () => {
    const body = `preamble --b\r\n--b \t\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\nepilogue`
    expect([...parse(body)]).toEqual([['a', '1']])
    expect([...parse('--b--')]).toEqual([])
  })
})

describe('what is no form', () => {
  it('has a boundary that is on many lines of its content, of which no more are looked at', () => {
    const withLines = (count: number) => `${part('name="a"', '\r\n--bc'.repeat(count))}--b--`
    expect(parse(withLines(1000)).get('a')).toHaveLength(6000)
    expect(() => parse(withLines(1001))).toThrow('A part has no end.')
  })

  it.each([
    ['nothing', ''],
    ['no delimiter', 'x'],
    ['no last delimiter', part('name="a"', '1')],
    ['a last delimiter that is cut off', `${part('name="a"', '1')}--b-`],
    ['headers without an end', '--b\r\nContent-Disposition: form-data; name="a"\r\n--b--'],
    ['headers that end in the next part', `--b\r\nx: y\r\n${part('name="a"', '1')}--b--`],
    ['a part without a name', `${part('filename="a.md"', '1')}--b--`],
    ['a part without headers', '--b\r\n\r\n1\r\n--b--'],
    ['long headers', `${part('name="a"', '1', `x: ${'y'.repeat(9000)}\r\n`)}--b--`],
    ['line feeds only', '--b\nContent-Disposition: form-data; name="a"\n\n1\n--b--'],
  ])('is refused: %s', (_name, body) => {
    expect(() => parse(body)).toThrow(MultipartError)
  })

  it.each([
    'multipart/form-data',
    'multipart/form-data; boundary=',
    `multipart/form-data; boundary=${'b'.repeat(201)}`,
  ])('is refused: the type %s', (type) => {
    expect(() => parse(`${part('name="a"', '1')}--b--`, type)).toThrow(/names no boundary/)
  })

  it('has more parts than any form here, of which no more are looked at', () => {
    const many = (count: number) => part('name="a"', '1').repeat(count)
    expect(parse(`${many(MAX_PARTS)}--b--`).getAll('a')).toHaveLength(MAX_PARTS)
    expect(() => parse(`${many(MAX_PARTS + 1)}--b--`)).toThrow('It has more than 200 parts.')
    // What follows is not read: it would be malformed.
    expect(() => parse(`${many(MAX_PARTS)}--b\r\nmalformed`)).toThrow('It has more than 200 parts.')
  })
})
