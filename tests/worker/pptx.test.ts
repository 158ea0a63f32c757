import { describe, expect, test } from 'vitest'
import { withStatedSize } from './bombs.ts'
import { extractFile } from './documents.ts'
import { CONTENT, makePackage, makePptx, paragraph, shape, type SlideParts, TITLE } from './office.ts'

const read = (slides: SlideParts[], order?: number[], limits = {}) =>
  extractFile(makePptx(slides, order), 'x.pptx', limits)
const title = (text: string) => shape(paragraph(text), TITLE)
const frame = (graphic: string) =>
  `<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id="4" name="x"/><p:nvPr/></p:nvGraphicFramePr><a:graphic><a:graphicData>${graphic}</a:graphicData></a:graphic></p:graphicFrame>`

describe('a presentation', () => {
  test('becomes a page for each slide, in the order in which they are shown, with the notes', async () => {
    const { outcome, pages, metadata } = await read(
      [
        { shapes: title('Second') + shape(paragraph('A text box.')), notes: 'Say this slowly.' },
        { shapes: shape(paragraph('Body first.')) + title('First of\n all') },
        { shapes: shape(paragraph('No title here.')) },
      ],
      [1, 0, 2],
    )
    expect(outcome).toBe('text')
    expect(pages).toEqual([
      '# First of all\n\nBody first.',
      '# Second\n\nA text box.\n\nSpeaker notes:\n\nSay this slowly.',
      '# Slide 3\n\nNo title here.',
    ])
    expect(metadata).toMatchObject({ document_type: 'pptx', title: 'Quay & crane' })
  })

  test('hidden slides and pictures alone are empty pages, so that page and slide have the same number', async () => {
    const { pages, metadata } = await read([
      { shapes: title('Draft'), notes: 'Not yet.', isHidden: true },
      { shapes: '<p:pic><p:nvPicPr><p:cNvPr id="5" name="Picture 4"/></p:nvPicPr></p:pic>' },
      { shapes: title('Shown') },
    ])
    expect(pages).toEqual(['', '', '# Shown'])
    expect(metadata).toMatchObject({ hidden_slide_count: 1 })
    expect((await read([{ shapes: title('Draft'), isHidden: true }])).outcome).toBe('empty_document')
  })

  test('paragraphs, lists and their levels', async () => {
    const level = (number: number, bullet = '') => `<a:pPr lvl="${number}">${bullet}</a:pPr>`
    const none = '<a:buNone/>'
    const number = '<a:buAutoNum type="arabicPeriod"/>'
    const { pages } = await read([
      {
        shapes: [
          shape(paragraph('One line.'), CONTENT),
          shape(paragraph('first') + paragraph('') + paragraph('deeper', level(1)) + paragraph('last'), CONTENT),
          shape(paragraph('plain', level(0, none)) + paragraph('item', level(0, number)), CONTENT),
          shape(
            paragraph('Box.') + paragraph('Two<') + '<a:p><a:r><a:t>a</a:t></a:r><a:br/><a:r><a:t>b</a:t></a:r></a:p>',
          ),
          shape(paragraph('- not ours', '<a:pPr><a:buChar char="–"/></a:pPr>'), '<p:ph type="body" idx="2"/>'),
        ]
          .join('')
          .replace('Two<', 'Two &lt;'),
      },
    ])
    expect(pages).toEqual([
      [
        '# Slide 1',
        'One line.',
        '- first\n  - deeper\n- last',
        'plain',
        '- item',
        'Box.',
        'Two <',
        'a\nb',
        '- - not ours',
      ].join('\n\n'),
    ])
  })

  test('tables, with labels in the cells they span', async () => {
    const cellOf = (text: string, attributes = '') =>
      `<a:tc ${attributes}><a:txBody>${text
        .split('/')
        .map((each) => paragraph(each))
        .join('')}</a:txBody></a:tc>`
    const rows = [
      [cellOf('Quay'), cellOf('Length', 'gridSpan="2"'), cellOf('', 'hMerge="1"')],
      [cellOf('North', 'rowSpan="2"'), cellOf('40'), cellOf('41/42')],
      [cellOf('', 'vMerge="1"'), cellOf('5|0'), cellOf('51')],
    ]
    const table = `<a:tbl>${rows.map((cells) => `<a:tr h="1">${cells.join('')}</a:tr>`).join('')}</a:tbl>`
    const { pages } = await read([{ shapes: title('Berths') + frame(table) }])
    expect(pages).toEqual([
      '# Berths\n\n| Quay | Length | Length |\n| --- | --- | --- |\n| North | 40 | 41 42 |\n| North | 5\\|0 | 51 |',
    ])
  })

  test('values of charts, texts of diagrams, descriptions of pictures, formulas', async () => {
    const points = (texts: (string | number)[], format = 'General') =>
      `<c:numRef><c:f>x</c:f><c:numCache><c:formatCode>${format}</c:formatCode>${texts.map((text, index) => `<c:pt idx="${index}"><c:v>${text}</c:v></c:pt>`).join('')}</c:numCache></c:numRef>`
    const series = (name: string, values: (string | number)[]) =>
      `<c:ser><c:tx><c:strRef><c:strCache><c:pt idx="0"><c:v>${name}</c:v></c:pt></c:strCache></c:strRef></c:tx><c:cat>${points([45352, 45383], 'mmm yy')}</c:cat><c:val>${points(values)}</c:val></c:ser>`
    const chart = `<c:chartSpace><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>Calls</a:t></a:r></a:p></c:rich></c:tx></c:title><c:plotArea><c:barChart>${series('North', [3, 4])}${series('', [5])}</c:barChart><c:valAx><c:title><a:t>axis</a:t></c:title></c:valAx></c:plotArea></c:chart></c:chartSpace>`
    const diagram =
      '<dgm:dataModel><dgm:ptLst><dgm:pt modelId="1"><dgm:t><a:p><a:r><a:t>Plan</a:t></a:r></a:p></dgm:t></dgm:pt><dgm:pt type="pres"><dgm:t><a:p/></dgm:t></dgm:pt><dgm:pt><dgm:t><a:p><a:r><a:t>Build</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>'
    const { pages } = await read([
      {
        shapes: [
          frame('<c:chart r:id="rId7"/>'),
          frame('<dgm:relIds r:dm="rId8" r:lo="rId9"/>'),
          '<p:pic><p:nvPicPr><p:cNvPr id="5" name="P" descr="The quay&#10;at dawn"/></p:nvPicPr></p:pic>',
          shape(
            '<a:p><m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath></a:p>',
          ),
        ].join(''),
        links: [
          { id: 'rId7', kind: 'chart', target: '../charts/chart1.xml' },
          { id: 'rId8', kind: 'diagramData', target: '/ppt/diagrams/data1.xml' },
        ],
        parts: { 'ppt/charts/chart1.xml': chart, 'ppt/diagrams/data1.xml': diagram },
      },
    ])
    expect(pages[0]?.split('\n\n').slice(1)).toEqual([
      'Calls',
      '|  | North | Series 2 |\n| --- | --- | --- |\n| 2024-03-01 | 3 | 5 |\n| 2024-04-01 | 4 |  |',
      '- Plan\n- Build',
      'Picture: The quay at dawn',
      '(a)/(b)',
    ])
  })

  test('what nobody sees is left out: running placeholders, hidden shapes, the other form of a drawing', async () => {
    const running = ['dt', 'ftr', 'sldNum'].map((type) => shape(paragraph(type), `<p:ph type="${type}"/>`))
    const hidden = shape(paragraph('secret')).replace('<p:cNvPr', '<p:cNvPr hidden="1"')
    const group = `<p:grpSp><p:nvGrpSpPr><p:cNvPr id="3" name="g" hidden="1"/></p:nvGrpSpPr>${shape(paragraph('in it'))}</p:grpSp>`
    const both = `<mc:AlternateContent><mc:Choice>${shape(paragraph('new'))}</mc:Choice><mc:Fallback>${shape(paragraph('old'))}</mc:Fallback></mc:AlternateContent>`
    const shown = `<p:grpSp><p:nvGrpSpPr><p:cNvPr id="3" name="g"/></p:nvGrpSpPr>${shape(paragraph('grouped'))}</p:grpSp>`
    const { pages } = await read([{ shapes: [title('T'), ...running, hidden, group, both, shown].join('') }])
    expect(pages).toEqual(['# T\n\nnew\n\ngrouped'])
  })
})

describe('a presentation that is not what it should be', () => {
  const SLIDE = { shapes: title('T') }
  const broken = (slides: SlideParts[], order?: number[]) => read(slides, order)

  test.each([
    ['breaks off', [{ shapes: '<p:sp>' }], undefined],
    ['shows a slide that is not there', [SLIDE], [0, 4]],
    ['shows a slide twice', [SLIDE], [0, 0]],
    [
      'has a damaged chart',
      [
        {
          shapes: frame('<c:chart r:id="r"/>'),
          links: [{ id: 'r', kind: 'chart', target: 'c.xml' }],
          parts: { 'ppt/slides/c.xml': '<c:chart>' },
        },
      ],
      undefined,
    ],
  ])('%s', async (_, slides, order) => {
    const { outcome, metadata } = await broken(slides, order)
    expect(outcome).toBe('corrupt_document')
    expect(metadata.message).toContain('presentation (PPTX)')
  })

  test('has no slides', async () => {
    expect((await read([])).outcome).toBe('empty_document')
    expect((await extractFile(makePackage({ 'ppt/presentation.xml': '' }), 'x.pptx')).outcome).toBe('corrupt_document')
  })

  test('what it points at outside is not looked for', async () => {
    const { pages } = await read([
      {
        shapes: title('T') + frame('<c:chart r:id="rId7"/>') + frame('<c:chart r:id="constructor"/>'),
        notes: 'Kept.',
        links: [
          { id: 'rId7', kind: 'chart', target: 'https://127.0.0.1:1/chart.xml', isExternal: true },
          { id: 'rId8', kind: 'notesSlide', target: 'file:///etc/passwd', isExternal: true },
          { id: 'rId9', kind: 'diagramData', target: '../../../../../etc/passwd' },
        ],
      },
    ])
    expect(pages).toEqual(['# T\n\nSpeaker notes:\n\nKept.'])
  })

  test('a chart is read once, and of a very large one only its title', async () => {
    const values = Array.from({ length: 20_001 }, (_, index) => `<c:pt idx="${index}"><c:v>1</c:v></c:pt>`)
    const chart = `<c:chart><c:title><a:t>Large</a:t></c:title><c:plotArea><c:ser><c:val>${values.join('')}</c:val></c:ser></c:plotArea></c:chart>`
    const { pages } = await read([
      {
        shapes: frame('<c:chart r:id="r"/>').repeat(500),
        links: [{ id: 'r', kind: 'chart', target: 'c.xml' }],
        parts: { 'ppt/slides/c.xml': chart },
      },
    ])
    expect(pages).toEqual(['# Slide 1\n\nLarge'])
  })

  test('entities are not expanded, and shapes may be nested a hundred thousand deep', async () => {
    const deep = `${'<p:grpSp>'.repeat(100_000)}${shape(paragraph('&e1; deep'))}${'</p:grpSp>'.repeat(100_000)}`
    const { outcome, pages } = await read([{ shapes: `<!ENTITY e1 "${'boom'.repeat(100)}">${deep}` }])
    expect(outcome).toBe('text')
    expect(pages).toEqual(['# Slide 1\n\n&e1; deep'])
  })
})

describe('a presentation that wants too much ends with limit_exceeded', () => {
  test.each([
    ['slides', Array.from({ length: 21 }, () => ({ shapes: '' })), { maxPages: 20 }, '21 slides'],
    ['text', [{ shapes: title('T'), notes: 'word '.repeat(300) }], { maxCharacters: 1000 }, '1,000 characters'],
    ['bytes', [{ shapes: ' '.repeat(3_000_000) }], { maxDecompressedBytes: 2 * 1024 * 1024 }, '2 MB'],
  ])('%s', async (_, slides, limits, said) => {
    const { outcome, metadata } = await read(slides, undefined, limits)
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain(said)
  })

  test('and one that lies about its size is damaged; pictures are not unpacked', async () => {
    const bytes = makePptx([
      { shapes: ' '.repeat(3_000_000), parts: { 'ppt/media/image1.png': ' '.repeat(3_000_000) } },
    ])
    const liar = withStatedSize(bytes, 'ppt/slides/slide1.xml', 100)
    const limits = { maxDecompressedBytes: 4_000_000 }
    expect((await extractFile(liar, 'x.pptx', limits)).outcome).toBe('corrupt_document')
    expect((await extractFile(bytes, 'x.pptx', limits)).outcome).toBe('empty_document')
  })
})
