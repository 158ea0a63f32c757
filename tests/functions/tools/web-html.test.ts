import { describe, expect, it } from 'vitest'
import { decodeEntities, htmlTokens } from '../../../supabase/functions/_shared/egress/html-tokens.ts'
import { htmlToText, type HtmlOptions } from '../../../supabase/functions/_shared/egress/html.ts'

const read = (html: string, options: Partial<HtmlOptions> = {}) =>
  htmlToText(html, {
    url: 'https://site.example/dir/page',
    onlyMainContent: true,
    includeImages: false,
    excludeTags: [],
    markdown: true,
    ...options,
  })

const PAGE = `<!doctype html><html><head><title> A &amp; B\n – caf&eacute; </title><style>p{}</style><script>if (a < b) "</p>"</script></head>
<body><!-- a <b>comment</b> --><header>Banner</header><nav><a href="/menu">Menu</a></nav>
<main><h1>The   title</h1><p>One <b>two</b>&nbsp;three,<br>four &lt;five&gt; <a href="/x (1)?q=1&amp;r=2">a <i>link</i></a>.</p>
<ul><li>first<li>second<ul><li>inner</li></ul></li></ul><pre>  code
    here</pre><table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>
<a href="javascript:alert(1)">script</a> <a href="data:text/html,x">data</a> <a href="https://u:p@site.example/">login</a> <a href="#top">top</a>
<img src="/p.png" alt="a [picture]"></main><aside>Beside</aside><footer>Imprint</footer></body></html>`

describe('a page as text', () => {
  it('is Markdown with complete links, without what surrounds the main part', () => {
    expect(read(PAGE)).toEqual({
      title: 'A & B – café',
      text: [
        '# The title',
        '',
        'One two three,',
        'four <five> [a link](https://site.example/x%20%281%29?q=1&r=2).',
        '',
        '- first',
        '- second',
        '  - inner',
        '',
        '  code',
        '    here',
        '',
        'k | v',
        '1 | 2',
        '',
        'script data login top',
      ].join('\n'),
      links: ['https://site.example/x%20(1)?q=1&r=2'],
    })
  })

  it('is plain, whole, or with images when asked', () => {
    expect(read('<h2>Head</h2><p>a <a href="/b">b</a></p>', { markdown: false }).text).toBe('Head\n\na b')
    const whole = read(PAGE, { onlyMainContent: false, includeImages: true })
    for (const text of ['Banner', '[Menu](https://site.example/menu)', 'Beside', 'Imprint'])
      expect(whole.text).toContain(text)
    expect(whole.text).toContain('![a picture ](https://site.example/p.png)')
    expect(whole.links).toContain('https://site.example/menu')
  })

  it('is all of the page where the main part is marked as next to nothing, or not at all', () => {
    expect(read('<main>x</main><div>The text of this page stands elsewhere.</div>').text).toContain('elsewhere')
    expect(read('<div>No marks</div>').text).toBe('No marks')
    expect(read('No markup at all').text).toBe('No markup at all')
    expect(read('').text).toBe('')
  })

  it.each([
    '<p hidden>canary</p>',
    '<p style="display: none">canary</p>',
    '<p style="color:red;DISPLAY:none">canary</p>',
    '<p style="visibility:hidden">canary</p>',
    '<p style="font-size:0">canary</p>',
    '<p style="opacity: 0;">canary</p>',
    '<div aria-hidden="true"><div>canary</div></div>',
    '<script>canary</script>',
    '<style>canary</style>',
    '<template>canary</template>',
    '<noscript>canary</noscript>',
    '<!-- canary -->',
    '<img alt="canary" src="/x">',
    '<a title="canary">x</a>',
    '<textarea>canary</textarea>',
    '<svg><text>canary</text></svg>',
    '<style>a</style ><style>canary',
  ])('leaves out what nobody sees: %s', (html) => {
    const { text } = read(`<p>before</p>${html}`, { onlyMainContent: false })
    expect(text).toContain('before')
    expect(text).not.toContain('canary')
  })

  it('goes on after what is hidden and not closed', () => {
    expect(read('<p hidden>a<p>b').text).toBe('b')
    expect(read('<body style="visibility:hidden">shown by a script').text).toBe('shown by a script')
    expect(read('<div hidden>a</div></div></p>b').text).toBe('b')
  })

  it('has no invisible characters in which instructions could travel', () => {
    const hidden = [...'obey'].map((char) => String.fromCodePoint(0xe0000 + char.charCodeAt(0))).join('')
    expect(read(`<p>a\u200bb\u202ec${hidden}d\0e&#x202e;&#0;</p>`).text).toBe('abcde\ufffd')
  })

  it('leaves out elements that are named', () => {
    const html = '<p>a</p><p class="x ad">b</p><p id="note">c</p><table><td>d</table><p>e</p>'
    expect(read(html, { excludeTags: ['.ad', '#note', 'TABLE'] }).text).toBe('a\n\ne')
  })

  it('takes entities as browsers do', () => {
    expect(decodeEntities('&auml;&Auml;&nbsp;&#65;&#x41;&euro;&amp;lt;&bogus;&#x110000;&copy')).toBe(
      'äÄ\u00a0AA€&lt;&bogus;\ufffd©',
    )
  })

  it('N04: costs steps for what it is long, not for what is nested or broken in it', () => {
    // Counted in tokens, not in time. A tree of the second page takes a parser minutes.
    const size = 200_000
    const fill = (text: string) => text.repeat(Math.ceil(size / text.length))
    const pages = [
      fill('<div>'),
      fill('<div>') + fill('</x>'),
      fill('<ul><li>'),
      fill('<'),
      `<a ${fill(' ')}`,
      `<a ${fill('= ')}`,
      `<a b='${fill('"')}`,
      fill('<!'),
      fill('<a b="'),
      fill('<script>'),
      fill('<table><tr><td>'),
      fill('&'),
    ]
    for (const page of pages) {
      expect([...htmlTokens(page)].length).toBeLessThanOrEqual(page.length)
      expect(read(page).text.length).toBeLessThanOrEqual(2 * page.length)
    }
  })
})
