import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { makeDocx } from './bombs.ts'
import {
  extractFile,
  FIXTURES,
  fold,
  openDocuments,
  similarity,
  wordRecall,
  type ExpectedDocument,
} from './documents.ts'
import { encryptedOffice, makePackage } from './office.ts'

const OUTCOMES: Record<ExpectedDocument['expect'], string> = {
  text: 'text',
  no_text: 'no_text_layer',
  password: 'encrypted_document',
  corrupt: 'corrupt_document',
  unsupported: 'unsupported_type',
}

const canReadUnembeddedFonts = (() => {
  try {
    return Boolean(import.meta.resolve('pdfjs-dist/package.json'))
  } catch {
    return false
  }
})()
const unembedded = canReadUnembeddedFonts ? 'text' : 'no_text_layer'
if (!canReadUnembeddedFonts)
  console.log('extract.test: pdfjs-dist is not installed, fonts that are not embedded stay unread')

/** Where our outcome is another one than that of the tools the expectations come from, and why. */
const DIFFERENT: Record<string, { outcome: string; because: string }> = {
  'markitdown/test.epub': { outcome: 'unsupported_type', because: 'e-books are not read' },
  'pdfjs/poppler-67295-0.pdf': { outcome: 'text', because: 'pdf.js repairs it' },
  'pdfjs/poppler-91414-0-53.pdf': { outcome: 'text', because: 'pdf.js repairs it' },
  'pdfjs/issue9105_other.pdf': { outcome: 'text', because: 'pdf.js repairs it' },
  'pdfjs/poppler-85140-0.pdf': { outcome: 'no_text_layer', because: 'pdf.js repairs it and finds an empty page' },
  'pdfjs/poppler-937-0-fuzzed.pdf': { outcome: 'corrupt_document', because: 'pdf.js does not repair it' },
  'pdfjs/secHandler.pdf': { outcome: 'no_text_layer', because: 'its only words are the caption of a push button' },
  'pdfjs/noembed-sjis.pdf': { outcome: unembedded, because: 'its font needs the character maps of pdfjs-dist' },
  'pdfjs/noembed-eucjp.pdf': { outcome: unembedded, because: 'its font needs the character maps of pdfjs-dist' },
  'pdfjs/vertical.pdf': { outcome: unembedded, because: 'its font needs the character maps of pdfjs-dist' },
}

/** PDFs of which poppler and pdf.js read different words: ligatures of Arabic, fonts that are not embedded, letters turned. */
const LOW_RECALL: Record<string, number> = {
  'pdfjs/ArabicCIDTrueType.pdf': 0.6,
  'pdfjs/noembed-identity.pdf': 0.5,
  'pdfjs/rotated.pdf': 0.7,
}

// Expectations about Markdown that we do not produce: links and images lose their targets, other text is left as it stands.
const withoutLinks = (text: string) => text.replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/\[([^\]]*)\]/g, '$1')
const AS_IT_STANDS = /\.(json|ipynb|xml|eml)$/

const shared = openDocuments(fileURLToPath(new URL('../../../shared/data/documents', import.meta.url)))
const own = openDocuments(FIXTURES)
const sets = [
  { name: 'documents of the repository', set: own },
  { name: 'all documents of the shared collection', set: shared },
]

test('the documents of the repository are there', () => {
  expect(own?.documents).toHaveLength(55)
})

for (const { name, set } of sets) {
  if (!set) {
    console.log(`extract.test: skipped "${name}": the folder is not there`)
    continue
  }
  describe(name, () => {
    test.each(set.documents)('$file', async (document) => {
      const { file } = document
      const expected = DIFFERENT[file]?.outcome ?? OUTCOMES[document.expect]
      const { outcome, pages, metadata } = await extractFile(set.read(file), file)
      expect(outcome, DIFFERENT[file]?.because).toBe(expected)
      const text = pages.join('\n')
      if (expected !== 'text') {
        expect(text.trim()).toBe('')
        expect(metadata.message).toMatch(/^[A-Z].{20,}\.$/)
        return
      }

      expect(fold(text)).not.toBe('')
      expect(text).not.toMatch(/\0|[\uD800-\uDBFF](?![\uDC00-\uDFFF])/)
      if (document.poppler?.pages) expect(pages).toHaveLength(document.poppler.pages)
      const poppler = set.expectedText(file)
      if (poppler && document.expect === 'text') {
        expect(wordRecall(poppler, text)).toBeGreaterThanOrEqual(LOW_RECALL[file] ?? 0.9)
        if (poppler.length > 1500) expect(similarity(poppler, text)).toBeGreaterThan(0.85)
      }
      if (AS_IT_STANDS.test(file)) return
      const mustInclude = [...(document.must_include ?? []), ...(document.must_include_markdown ?? [])]
      for (const words of mustInclude.filter((each) => !each.startsWith('data:'))) {
        expect(fold(text.replace(/\[([^\]]*)\]/g, '$1'))).toContain(fold(withoutLinks(words)))
      }
      for (const words of document.must_not_include ?? []) expect(text).not.toContain(words)
    })
  })
}

describe('structure', () => {
  test('headings, tables, comments of a DOCX become Markdown', async () => {
    const { pages } = await extractFile(own!.read('markitdown/test_with_comment.docx'), 'x.docx')
    const text = pages.join('\n\n')
    expect(text).toMatch(/^# AutoGen: Enabling/)
    expect(text).toContain('\n## d666f1f7-46cb-42bd-9a39-9a39cf2a509f\n')
    expect(text).toContain('| 1 | 2 | 3 | 4 | 5 | 6 |\n| --- | --- | --- | --- | --- | --- |\n| 7 | 8 |')
    expect(text).toContain('# Comments\n\nThis is a test comment. 12df-321a')
  })

  test('equations of a DOCX keep their parts in order', async () => {
    const { pages } = await extractFile(own!.read('markitdown/equations.docx'), 'x.docx')
    expect(pages.join('\n').replace(/\s|\u2061/g, '')).toContain(
      'sinθ=(mλ)/(a)=((1)(550×10^(-6)mm))/(2.5mm)=2.2×10^(-4)',
    )
  })

  test('the parts of a DOCX are those it names', async () => {
    const kinds = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
    const linked = (...links: [kind: string, target: string][]) =>
      `<Relationships>${links.map(([kind, target], index) => `<Relationship Id="r${index}" Type="${kinds}/${kind}" Target="${target}"/>`).join('')}</Relationships>`
    const document = makePackage({
      '[Content_Types].xml': '<Types/>',
      '_rels/.rels': linked(['officeDocument', '/word/document2.xml']),
      'word/_rels/document2.xml.rels': linked(['styles', 'styles2.xml'], ['comments', 'comments2.xml']),
      'word/document2.xml':
        '<w:document><w:body><w:p><w:pPr><w:pStyle w:val="a1"/></w:pPr><w:r><w:t>Head</w:t></w:r></w:p></w:body></w:document>',
      'word/styles2.xml':
        '<w:styles><w:style w:type="paragraph" w:styleId="a1"><w:name w:val="heading 2"/></w:style></w:styles>',
      'word/comments2.xml': '<w:comments><w:comment><w:p><w:r><w:t>Said</w:t></w:r></w:p></w:comment></w:comments>',
    })
    const { pages, metadata } = await extractFile(document, 'x.docx')
    expect(pages.join('\n\n')).toBe('## Head\n\n# Comments\n\nSaid')
    expect(metadata.document_type).toBe('docx')

    const body = (text: string) => `<w:document><w:body><w:p><w:r><w:t>${text}</w:t></w:r></w:p></w:body></w:document>`
    const comments = '<w:comments><w:comment><w:p><w:r><w:t>Said</w:t></w:r></w:p></w:comment></w:comments>'
    const packages: Record<string, Record<string, string>> = {
      'a path with a backslash': {
        '_rels/.rels': linked(['officeDocument', 'word\\document.xml']),
        'word/document.xml': body('Text'),
      },
      'a list of parts that is damaged': { '_rels/.rels': '<Relationships><Rel', 'word/document.xml': body('Text') },
      'a list of what is beside it that is damaged': {
        '_rels/.rels': linked(['officeDocument', 'word/document.xml']),
        'word/_rels/document.xml.rels': '<Relationships><Rel',
        'word/document.xml': body('Text'),
      },
      'no list of parts': { 'word/document2.xml': body('Text') },
    }
    for (const [name, parts] of Object.entries(packages)) {
      const bytes = makePackage({ '[Content_Types].xml': '<Types/>', ...parts, 'word/comments.xml': comments })
      expect((await extractFile(bytes, 'x.docx')).pages, name).toEqual(['Text\n\n# Comments\n\nSaid'])
    }
    const two = { 'word/document2.xml': body('A'), 'word/document3.xml': body('B') }
    expect((await extractFile(makePackage({ '[Content_Types].xml': '<Types/>', ...two }), 'x.docx')).outcome).toBe(
      'corrupt_document',
    )
  })

  test('what a tracked change says a format was before changes nothing in a DOCX', async () => {
    const hidden = '<w:rPrChange w:id="1"><w:rPr><w:vanish/></w:rPr></w:rPrChange>'
    const heading = '<w:pPrChange w:id="2"><w:pPr><w:pStyle w:val="Heading1"/></w:pPr></w:pPrChange>'
    const document = makeDocx(
      `<w:document><w:body><w:p><w:r><w:rPr><w:b/>${hidden}</w:rPr><w:t>Shown now.</w:t></w:r></w:p>
      <w:p><w:pPr><w:pStyle w:val="Normal"/>${heading}</w:pPr><w:r><w:t>No heading any more.</w:t></w:r></w:p>
      <w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>Hidden now.</w:t></w:r></w:p></w:body></w:document>`,
    )
    const { pages } = await extractFile(document, 'x.docx')
    expect(pages).toEqual(['Shown now.\n\nNo heading any more.'])
  })

  test('large lines of a PDF become headings', async () => {
    const { pages } = await extractFile(own!.read('py-pdf/pdflatex-outline.pdf'), 'x.pdf')
    expect(pages.join('\n')).toMatch(/^#{1,3} .+/m)
  })

  test('values of form fields are text', async () => {
    const { pages } = await extractFile(own!.read('py-pdf/libreoffice-form.pdf'), 'x.pdf')
    expect(pages.join('\n')).toContain('Alice')
  })

  test('a CSV in Shift_JIS becomes a table', async () => {
    const { pages, metadata } = await extractFile(own!.read('markitdown/test_mskanji.csv'), 'x.csv')
    expect(pages).toEqual([
      '| 名前 | 年齢 | 住所 |\n| --- | --- | --- |\n| 佐藤太郎 | 30 | 東京 |\n| 三木英子 | 25 | 大阪 |\n| 髙橋淳 | 35 | 名古屋 |',
    ])
    expect(metadata.encoding).toBe('shift_jis')
  })

  test('each page of a long CSV repeats the header', async () => {
    const rows = Array.from({ length: 500 }, (_, index) => `${index};"a ""quoted"" name; ${index}";x|y`)
    const { pages } = await extractFile(new TextEncoder().encode(['id;name;note', ...rows].join('\r\n')), 'x.csv')
    expect(pages.length).toBeGreaterThan(3)
    for (const page of pages) expect(page.startsWith('| id | name | note |\n| --- | --- | --- |\n')).toBe(true)
    expect(pages.join('\n')).toContain('| 499 | a "quoted" name; 499 | x\\|y |')
  })

  test('hidden parts, code and menus of a web page are left out', async () => {
    const html = `<!doctype html><title>T &amp; U</title><style>.a{}</style><nav>Menu</nav><script>steal()</script>
      <p>Seen</p><p hidden>Unseen 1</p><p style="display:none">Unseen 2</p><div aria-hidden="true">Unseen 3</div>
      <h2>Part</h2><table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>`
    const { pages, metadata } = await extractFile(new TextEncoder().encode(html), 'x.html')
    expect(pages).toEqual(['Seen\n\n## Part\n\n| A | B |\n| --- | --- |\n| 1 | 2 |'])
    expect(metadata).toMatchObject({ title: 'T & U', document_type: 'html' })
  })

  test('blocks of a web page are apart, whatever they are', async () => {
    const html = `<!doctype html><body><dl><dt>Price</dt><dd>10 EUR</dd><dt>Term</dt><dd>2 years</dd></dl><p>One <b>line</b></p>
      <figure><figcaption>A figure</figcaption><p>Beside it</p></figure><details><summary>More</summary>of this</details><li>Stray</li><li>items</li>
      <table><caption>Tariffs of <i>2024</i></caption><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>
      <table><tr><td>Left</td><td>Right<h2>Part</h2></td></tr></table>`
    const { pages } = await extractFile(new TextEncoder().encode(html), 'x.html')
    expect(pages[0]?.split(/\n+/)).toEqual([
      ...[
        'Price',
        '10 EUR',
        'Term',
        '2 years',
        'One line',
        'A figure',
        'Beside it',
        'More',
        'of this',
        'Stray',
        'items',
      ],
      ...['Tariffs of 2024', '| A | B |', '| --- | --- |', '| 1 | 2 |', 'Left', 'Right', '## Part'],
    ])
  })

  test('a web page is read to its deepest text or not at all', async () => {
    const page = (depth: number) => new TextEncoder().encode(`<!doctype html><body>${'<div>'.repeat(depth)}deep`)
    expect((await extractFile(page(490), 'x.html')).pages).toEqual(['deep'])
    const { outcome, metadata } = await extractFile(page(510), 'x.html')
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain('within each other')
  })

  test('tags of a web page that are never closed and change nothing of its text do not make it too deep', async () => {
    const read = (html: string) => extractFile(new TextEncoder().encode(`<!doctype html><body>${html}`), 'x.html')
    const anchors = Array.from({ length: 600 }, (_, index) => `<a name="s>${index}"><p>Part ${index}</p>`).join('\n')
    const { pages } = await read(anchors)
    expect(pages.join('\n\n').split('\n\n')).toEqual(Array.from({ length: 600 }, (_, index) => `Part ${index}`))
    for (const tag of ['font color=red', 'nobr', 'SPAN class="hidden-mark"', 'b'])
      expect((await read(`${`<${tag}>`.repeat(600)}de<i>ep</i> <<b>text> <!-- <b> unseen -->`)).pages).toEqual([
        'deep <text>',
      ])
    const hidden = '<span style="display: none">un<span>seen</span> words</span>'
    expect((await read(`${'<font>'.repeat(600)}${hidden}<b hidden>not <b>seen</b></b>shown`)).pages).toEqual(['shown'])
    expect((await read(`${'<span>'.repeat(600)}${hidden}shown`)).outcome).toBe('limit_exceeded')
  })

  test('a web page may have the character that marks what is too deep', async () => {
    const page = new TextEncoder().encode('<!doctype html><body><p>One\uFDD0 two&#xFDD0; three&#64976;.</p>')
    expect((await extractFile(page, 'x.html')).pages).toEqual(['One two three.'])
  })

  test('what only looks like a comment of Markdown is text', async () => {
    const read = async (text: string) => (await extractFile(new TextEncoder().encode(text), 'x.md')).pages.join('\n\n')
    const kept = [
      'Comments begin with `<!--`.\n\n# Chapter\n\nText.\n\nThey end with `-->`.',
      'Write:\n\n```html\n<!-- the menu -->\n<nav>\n```\n\nor\n\n~~~\n<!-- the menu -->\n~~~',
      'An arrow may begin with <!-- and\n\nanother paragraph\n\nend with -->.',
      'Never closed: <!-- text',
    ]
    for (const text of kept) expect(await read(text)).toBe(text)
    expect(await read('One `<!--` <!-- left out --> `-->` two')).toBe('One `<!--`  `-->` two')
    expect(await read('One\n\n<!-- left\n\n```\nout\n\n-->\n\ntwo\n\n```\n<!-- three -->\n```')).toBe(
      'One\n\ntwo\n\n```\n<!-- three -->\n```',
    )
    expect(await read('One <!-- left\nout --> two<!----> three')).toBe('One  two three')
    expect(await read('- <!-- left\n\n  out -->\n- two')).toBe('-\n- two')
    expect(await read('1. One\n\n   - a\n\n     <!-- left\n\n     out -->\n     b')).toBe('1. One\n\n   - a\n\n     b')
    for (const text of ['- <!-- an item\n\nText.\n\nAn --> arrow', '> <!-- a quote\n\nText.\n\n> An --> arrow'])
      expect(await read(text)).toBe(text)
  })

  test('only what has keys is front matter of Markdown', async () => {
    const read = (text: string) => extractFile(new TextEncoder().encode(text), 'x.md')
    const rules = '---\n\n# One\n\nText of one.\n\n---\n\n# Two\n\nText of two.'
    expect((await read(rules)).pages).toEqual([rules])
    const matter = '---\ntitle: "A title"\n# why\ntags:\n- a\n  - b\nlong: >\n  text\n\n  more\n---\nText.'
    expect(await read(matter)).toMatchObject({ pages: ['Text.'], metadata: { title: 'A title' } })
    const matters = [
      '# comment\n\nlayout: home\ntitle: A title',
      '\ntitle: A title\nlayout: home',
      'list:\n- \n  name: x\ntitle: A title',
      'og:title: y\ndc:creator: z\ntitle: A title',
      '$schema: x\ntitle: A title\n$ref: y',
      '<<: *x\ntitle: A title\n"a: b": c',
      '  author:\n    title: Dr\n  title: A title',
    ]
    for (const body of matters)
      expect(await read(`---\n${body}\n---\nText.`)).toMatchObject({ pages: ['Text.'], metadata: { title: 'A title' } })
    const texts = [
      '---\n\nQuestion: what?\n\n---\n\nAnswer: that.',
      '---\n# Part\n\nNote: this.\n\n---\n\nText.',
      '---\nWhat was said of it\n\nNote: this.\n---\nText.',
      '---\n<p title="a: b">\n---\nText.',
    ]
    for (const text of texts) expect((await read(text)).pages).toEqual([text])
  })

  test('unpaged text is divided at paragraphs and headings stay with their text', async () => {
    const part = (index: number) => `## Part ${index}\n\n${'A sentence of some length. '.repeat(40).trim()}`
    const text = Array.from({ length: 12 }, (_, index) => part(index)).join('\n\n')
    const { pages } = await extractFile(new TextEncoder().encode(text), 'x.md')
    expect(pages.length).toBeGreaterThan(3)
    expect(pages.join('\n\n')).toBe(text)
    for (const page of pages) {
      expect(page).toMatch(/^## Part/)
      expect(page.length).toBeLessThan(4500)
    }
  })
})

describe('encodings', () => {
  const sentence = 'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, déjà vu – „fünf“ €'
  const utf16 = (text: string, littleEndian: boolean) => {
    const bytes = new Uint8Array(text.length * 2)
    const view = new DataView(bytes.buffer)
    for (let index = 0; index < text.length; index++) view.setUint16(index * 2, text.charCodeAt(index), littleEndian)
    return bytes
  }
  // windows-1252 has these where Latin-1 has control characters.
  const windows1252 = (text: string) =>
    Uint8Array.from(
      text,
      (character) =>
        ({ '–': 0x96, '’': 0x92, '„': 0x84, '“': 0x93, '”': 0x94, '€': 0x80 })[character] ?? character.charCodeAt(0),
    )
  const cases: [string, Uint8Array, string][] = [
    ['UTF-8', new TextEncoder().encode(sentence), 'utf-8'],
    ['UTF-8 with a byte order mark', new TextEncoder().encode(`\uFEFF${sentence}`), 'utf-8'],
    ['UTF-16 LE with a byte order mark', utf16(`\uFEFF${sentence}`, true), 'utf-16le'],
    ['UTF-16 BE with a byte order mark', utf16(`\uFEFF${sentence}`, false), 'utf-16be'],
    ['UTF-16 LE without one', utf16(sentence, true), 'utf-16le'],
    ['windows-1252', windows1252(sentence), 'windows-1252'],
  ]
  test.each(cases)('%s', async (_, bytes, encoding) => {
    const { outcome, pages, metadata } = await extractFile(bytes, 'x.txt')
    expect(outcome).toBe('text')
    expect(pages).toEqual([sentence])
    expect(metadata.encoding).toBe(encoding)
  })

  test.each([
    ['German', 'Größe und Übung. '],
    ['Russian', 'Привет, мир. '],
    ['Japanese', '資料の検索について。'],
  ])('UTF-8 that was cut inside a character: %s', async (_, words) => {
    const whole = new TextEncoder().encode(`${words.repeat(20)}ü`)
    const { outcome, pages, metadata } = await extractFile(whole.subarray(0, -1), 'x.txt')
    expect(outcome).toBe('text')
    expect(pages).toEqual([`${words.repeat(20)}\uFFFD`])
    expect(metadata.encoding).toBe('utf-8')
  })

  test.each([
    [
      'eleven accents, the last cut',
      'Größe, Übung, Äpfel, Öl, süß, für, übrig, schö',
      'Größe, Übung, Äpfel, Öl, süß, für, übrig, sch',
    ],
    ['three whole characters', 'Tür, Öl, süß', 'Tür, Öl, sü'],
  ])('short UTF-8 that was cut inside a character: %s', async (_, words, shown) => {
    const { pages, metadata } = await extractFile(new TextEncoder().encode(words).subarray(0, -1), 'x.txt')
    expect(pages).toEqual([`${shown}\uFFFD`])
    expect(metadata.encoding).toBe('utf-8')
  })

  test.each([
    'Größe – Übung “x”',
    'CAFÉ’S – “CAFÉ” “É”',
    'Déjà vu : « l’été »',
    'voilà\u00a0», dit-il\u00a0: «\u00a0là\u00a0»',
    'Ü',
    '5 € – 6 €',
  ])('short windows-1252: %s', async (text) => {
    const { pages, metadata } = await extractFile(windows1252(text), 'x.txt')
    expect(pages).toEqual([text])
    expect(metadata.encoding).toBe('windows-1252')
  })

  test('EUC-JP', async () => {
    const bytes = Uint8Array.of(0xc6, 0xfc, 0xcb, 0xdc, 0xb8, 0xec, 0xa4, 0xce, 0xca, 0xb8, 0xbd, 0xf1)
    expect((await extractFile(bytes, 'x.txt')).pages).toEqual(['日本語の文書'])
  })

  test('the encoding that a web page declares', async () => {
    const page = '<!doctype html><meta charset="windows-1251"><p>'
    const bytes = Uint8Array.from([...new TextEncoder().encode(page), 0xcf, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2])
    expect((await extractFile(bytes, 'x.html')).pages).toEqual(['Привет'])
  })

  test('NUL, controls and lone surrogates do not survive', async () => {
    const words = 'plain words '.repeat(100)
    const bytes = utf16(`\uFEFF${words}A\0B\uD800C\u0001D`, true)
    const { pages } = await extractFile(bytes, 'x.txt')
    expect(pages).toEqual([`${words}AB\uFFFDCD`])
  })
})

describe('what cannot be read', () => {
  const text = (content: string) => new TextEncoder().encode(content)
  const cases: [string, Uint8Array, string, string][] = [
    ['no bytes at all', new Uint8Array(), 'x.txt', 'empty_document'],
    ['only white space', text(' \n\t \n'), 'x.md', 'empty_document'],
    ['a web page without words', text('<!doctype html><body><script>1</script></body>'), 'x.html', 'empty_document'],
    ['text that calls itself a PDF', text('Hello'), 'x.pdf', 'corrupt_document'],
    ['text that calls itself a DOCX', text('Hello'), 'x.docx', 'corrupt_document'],
    [
      'an image that calls itself text',
      Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10),
      'x.txt',
      'unsupported_type',
    ],
    ['a truncated archive', own!.read('r2r/docx.docx').subarray(0, 5000), 'x.docx', 'corrupt_document'],
    ['a truncated PDF', own!.read('r2r/pdf.pdf').subarray(0, 100), 'x.pdf', 'corrupt_document'],
    ['an Office file with a password', encryptedOffice(), 'x.docx', 'encrypted_document'],
    [
      'an Office 97 file',
      Uint8Array.of(0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, 0, 0),
      'x.doc',
      'unsupported_type',
    ],
    ['random bytes', own!.read('markitdown/random.bin'), 'x.txt', 'unsupported_type'],
  ]
  test.each(cases)('%s', async (_, bytes, name, outcome) => {
    expect((await extractFile(bytes, name)).outcome).toBe(outcome)
  })

  test('a text that begins with the letters of another format, or names them, is read', async () => {
    const texts = [
      'Every PDF begins with %PDF-1.7.',
      'ID3 is an algorithm.',
      'RIFF is a container.',
      'BZh, they said.',
      'II* is ours.',
    ]
    for (const each of texts) expect((await extractFile(text(each), 'x.md')).pages).toEqual([each])
    const sound = text('ID3\u0003\0\0\0\0\u0021\u0076TSSE')
    const { outcome, metadata } = await extractFile(sound, 'x.txt')
    expect(outcome).toBe('unsupported_type')
    expect(metadata.message).toContain('A media file')
    expect((await extractFile(text('{\\rtf1 Text}'), 'x.txt')).outcome).toBe('unsupported_type')
    const late = new Uint8Array([...text('\n\n'), ...own!.read('r2r/pdf.pdf')])
    expect((await extractFile(late, 'x.pdf')).outcome).toBe('text')
  })

  test('the content decides over the extension', async () => {
    const { outcome, metadata } = await extractFile(own!.read('r2r/pdf.pdf'), 'x.txt')
    expect(outcome).toBe('text')
    expect(metadata.document_type).toBe('pdf')
  })
})
