import type { Page } from 'playwright-core'
import { afterAll, expect, test } from 'vitest'
import { uploadText } from '../support/documents.ts'
import { startScriptedModel } from '../support/scripted-model/index.ts'
import { describeConsole, goto, type Person } from './support/console.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const TRACKER = 'https://tracker.example'

/** What somebody may have put into a document, hoping that it is quoted. */
const HOSTILE = [
  `![a pixel](${TRACKER}/pixel.png?secret=1)`,
  `![](${TRACKER}/unnamed.png) ![by reference][pixel] [![in a link](${TRACKER}/linked.png)](${TRACKER}/click)`,
  `<img src="${TRACKER}/html.png" onerror="window.taken = 'img'">`,
  `<script>window.taken = 'script'</script><svg onload="window.taken = 'svg'"></svg>`,
  `<iframe src="${TRACKER}/frame"></iframe><form action="${TRACKER}/form"><input name="password"><button>Go on</button></form>`,
  `<style>body { background: url(${TRACKER}/style.png) }</style><link rel="stylesheet" href="${TRACKER}/sheet.css">`,
  `[run it](javascript:window.taken='link') [data](data:text/html,<script>window.taken='data'</script>) <javascript:window.taken='auto'>`,
  `[vb](vbscript:x) [odd](JaVaScRiPt:window.taken=1) [relative](/functions/v1/api) [hash](#/people) [protocol](//tracker.example/x)`,
  `[a bank](${TRACKER}/phish) and ${TRACKER}/bare and <mailto:somebody@tracker.example>`,
  `The fee is 7 EUR [1].`,
  `[1]: ${TRACKER}/mark\n[pixel]: ${TRACKER}/reference.png`,
  `\`\`\`html\n<img src="${TRACKER}/code.png">\n\`\`\``,
  `| ![cell](${TRACKER}/cell.png) | b |\n| --- | --- |\n| <b onmouseover="window.taken = 'hover'">c</b> | d |`,
].join('\n\n')

/** Wide, with a link at its end, and a link whose text turns what stands behind it. */
const WIDE = `| a | b |\n| --- | --- |\n| ${'w'.repeat(900)} | [turned \u202e](${TRACKER}/turned) |`

const NESTED = `${'> '.repeat(3_900)}deep`
/** What a parser looks at for each mark once more. */
const MARKED = `${'*_'.repeat(50_000)} marked`
const LISTS = `${'- '.repeat(2_000)}low`

const model = await startScriptedModel()
afterAll(() => model.stop())

/** Elements of an answer that no text may bring about. */
const FORBIDDEN =
  'img, script, style, link, iframe, form, input, object, embed, video, audio, base, meta, [onerror], [onload], [onmouseover]'

/** Whether each character of a text in an element stands to the right of the one before. */
const leftsOf = (element: Element, text: string): boolean[] => {
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT)
  while (texts.nextNode() && !texts.currentNode.textContent?.includes(text));
  const start = texts.currentNode.textContent?.indexOf(text) ?? 0
  const lefts = Array.from(text, (_, at) => {
    const range = document.createRange()
    range.setStart(texts.currentNode, start + at)
    range.setEnd(texts.currentNode, start + at + 1)
    return range.getBoundingClientRect().left
  })
  return lefts.map((left, at) => at === 0 || left > (lefts[at - 1] ?? 0))
}

const untouched = async (person: Person, page: Page) => {
  const answer = page.getByRole('article').last()
  expect(await answer.locator(FORBIDDEN).evaluateAll((all) => all.map((one) => one.outerHTML))).toEqual([])
  const links = await answer
    .locator('a')
    .evaluateAll((all) =>
      all.map((one) => ({ href: one.getAttribute('href') ?? '', rel: one.getAttribute('rel'), text: one.textContent })),
    )
  for (const { href, rel, text } of links) {
    if (/^#\/(documents|runs)\//.test(href)) continue
    // What leads out says where to, and gives nothing along.
    expect(href).toMatch(/^(https?:\/\/|mailto:)/)
    expect(rel).toBe('noopener noreferrer nofollow')
    expect(text).toContain('tracker.example)')
    expect(text).toContain('external link')
  }
  expect(await page.evaluate(() => (globalThis as { taken?: unknown }).taken)).toBeUndefined()
  expect(person.problems).toEqual([])
  return { answer, links }
}

describeConsole(
  'a hostile document',
  (app) => {
    test('that is quoted by an answer loads nothing, runs nothing, and makes no element of its own', async () => {
      const member = await app.stack.signIn('member@harbor.example')
      await uploadText(member, 'fees.md', `# Fees\n\n${HOSTILE}\n`)
      const person = await app.signIn('member@harbor.example')
      const { page } = person
      // The worst model: it says everything it has read.
      model.play(() => ({ text: HOSTILE }))
      await page.getByLabel('Your question').fill('What is the fee?')
      await page.keyboard.press('Enter')
      await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
      const { answer } = await untouched(person, page)
      expect(await answer.innerText()).toContain('The fee is 7 EUR')
      // The mark leads to the document, whatever the document says that it should mean.
      const mark = answer.getByRole('link', { name: /^Source 1: fees\.md/ }).first()
      expect(await mark.getAttribute('href')).toMatch(/^#\/documents\//)
      await mark.click()
      await page.locator('mark').first().waitFor()
      expect(await page.locator('main').locator('img, script, style, iframe, [onerror], [onload]').count()).toBe(0)
      expect(person.problems).toEqual([])
    })

    test('is harmless also where no filter of the server was in between', async () => {
      const { data: user } = await (await app.stack.signIn('member@harbor.example')).auth.getUser()
      const userId = user.user?.id ?? ''
      const service = app.stack.service
      const session = await service
        .from('chat_sessions')
        .insert({ tenant_id: HARBOR, user_id: userId, title: 'Unfiltered' })
        .select('id')
        .single()
      const sessionId = session.data?.id as string
      const common = { tenant_id: HARBOR, user_id: userId, session_id: sessionId }
      for (const [question, text] of [
        ['Nested?', NESTED],
        ['Marked?', MARKED],
        ['Listed?', LISTS],
        ['Wide?', WIDE],
        ['What is it?', HOSTILE],
      ]) {
        const asked = await service
          .from('chat_messages')
          .insert({ ...common, role: 'user', content: question, payload: {} })
          .select('id')
          .single()
        const answered = await service
          .from('chat_messages')
          .insert({ ...common, role: 'assistant', content: text, reply_to_id: asked.data?.id, payload: {} })
        expect([asked.error, answered.error]).toEqual([null, null])
      }
      const person = await app.signIn('member@harbor.example')
      const { page } = person
      await goto(page, `#/chat/${sessionId}`)
      await page.getByText('The fee is 7 EUR').waitFor()
      // What the page would be busy with for long is shown as it is, marks and all.
      await page.getByText('> > deep').waitFor()
      await page.getByText('_ marked').waitFor()
      await page.getByText('- - low').waitFor()
      // What is wide scrolls by itself, and the host of a link is written in its own direction.
      const link = page.locator(`a[href="${TRACKER}/turned"]`)
      expect(
        await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
      ).toBe(0)
      expect(await link.evaluate(leftsOf, new URL(TRACKER).host)).toEqual([...new URL(TRACKER).host].map(() => true))
      const { answer, links } = await untouched(person, page)
      // An image is told of, with its address as text.
      await answer.getByText(`[image: a pixel] ${TRACKER}/pixel.png?secret=1`).waitFor()
      expect(links.map(({ href }) => href)).toEqual([
        `${TRACKER}/click`,
        `${TRACKER}/phish`,
        `${TRACKER}/bare`,
        'mailto:somebody@tracker.example',
      ])
      // Text stays of what may not be followed, and does nothing.
      for (const text of ['run it', 'odd', 'relative', 'hash', 'protocol']) await answer.getByText(text).first().click()
      expect(new URL(page.url()).hash).toBe(`#/chat/${sessionId}`)
      await untouched(person, page)
    })
  },
  { userEnv: model.env },
)
