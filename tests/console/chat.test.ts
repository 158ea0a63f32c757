import type { Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { blocksOf } from '../../web/src/lib/markdown/split.ts'
import { uploadText } from '../support/documents.ts'
import { startScriptedModel, type Turn } from '../support/scripted-model/index.ts'
import { WAIT } from '../support/stack.ts'
import { accessibilityProblems } from './support/axe.ts'
import { describeConsole, goto } from './support/console.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const PASSAGE = 'The tariff for berth 12 is 4.20 EUR per metre and day.'
const ANSWER = 'Berth 12 costs **4.20 EUR** per metre and day [1]. That is the rule.\n\n- per metre\n- per day\n'

const model = await startScriptedModel()
afterAll(() => model.stop())

/** Holds an answer in its middle until it is let go. */
const gate = () => {
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

/** A text whose words come up to the given number, and then wait. */
const heldAfter = (text: string, words: number, until: Promise<void>): Turn => {
  let sent = 0
  return { text, between: () => (sent++ < words ? Promise.resolve() : until) }
}

const ask = async (page: Page, question: string) => {
  await page.getByLabel('Your question').fill(question)
  await page.keyboard.press('Enter')
}
const turns = (page: Page): Locator => page.getByRole('article')
const stopButton = (page: Page): Locator => page.getByRole('button', { name: 'Stop', exact: true })
/** Until the answer is whole and the next question can be sent, which is a moment later. */
const untilAnswered = async (page: Page) => {
  await page.getByRole('button', { name: 'Copy the answer' }).last().waitFor()
  await page.getByRole('button', { name: 'Send', exact: true }).waitFor()
}
const hashOf = (page: Page): string => new URL(page.url()).hash

/** What the turns of a conversation say, as it is read. */
const textsOf = (page: Page): Promise<string[]> =>
  turns(page).evaluateAll((all) => all.map((one) => (one as HTMLElement).innerText.replace(/\s+/g, ' ').trim()))

test('a text that grows is parsed anew in its last piece only', () => {
  const text =
    '# A\n\nText\ngoes on.\n\n- one\n\n  more of it\n\n- two\n\nAfter.\n\n```ts\nconst a = 1\n\n# no heading\n```\n\n1. x\n\n2. y\n\n| a |\n| - |\n| b |\n\nEnd'
  const whole = blocksOf(text)
  expect(whole).toEqual([
    '# A\n',
    'Text\ngoes on.\n\n- one\n\n  more of it\n\n- two\n',
    'After.\n',
    '```ts\nconst a = 1\n\n# no heading\n```\n\n1. x\n\n2. y\n',
    '| a |\n| - |\n| b |\n',
    'End',
  ])
  expect(whole.join('\n')).toBe(text)
  for (let length = 1; length < text.length; length++) {
    const blocks = blocksOf(text.slice(0, length))
    expect(blocks.slice(0, -1)).toEqual(whole.slice(0, blocks.length - 1))
  }
})

describeConsole(
  'chat',
  (app) => {
    beforeAll(async () => {
      const member = await app.stack.signIn('member@harbor.example')
      await uploadText(member, 'tariff.md', `# Berths\n\nAll berths have water.\n\n${PASSAGE}\n`)
    })

    test('who has no document is taught to upload one', async () => {
      const { page } = await app.signIn('member@meridian.example')
      await page.getByRole('heading', { name: 'No document to answer from yet' }).waitFor()
      await page.getByRole('link', { name: 'Go to the documents' }).click()
      await expect.poll(() => hashOf(page), WAIT).toBe('#/documents')
    })

    test('a question is answered with its sources, a mark opens the passage, and calls of tools are seen', async () => {
      const { page } = await app.signIn('member@harbor.example')
      model.play(() => ({ text: ANSWER }))
      await page.getByLabel('Your question').fill('What does berth 12 cost?')
      // Shift + Enter breaks the line, Enter sends.
      await page.keyboard.press('Shift+Enter')
      expect(await turns(page).count()).toBe(0)
      await page.keyboard.press('Enter')
      await untilAnswered(page)
      await page.getByRole('heading', { level: 1, name: 'What does berth 12 cost?' }).waitFor()
      expect(await turns(page).count()).toBe(1)
      expect(await page.getByRole('listitem').filter({ hasText: 'per metre' }).count()).toBeGreaterThan(0)

      const sources = page.getByRole('region', { name: 'Sources of this answer' })
      expect(await sources.innerText()).toContain('tariff.md')
      expect(await sources.innerText()).toContain('page 1')
      expect(await accessibilityProblems(page)).toEqual([])

      await page.getByRole('link', { name: 'Source 1: tariff.md, page 1' }).click()
      await page.locator('mark').first().waitFor()
      const marked = await page.locator('mark').allInnerTexts()
      expect(marked.join(' ').replace(/\s+/g, ' ')).toContain(PASSAGE)

      // A call of a tool is shown as it happens, with its arguments and its result.
      await goto(page, '#/chat')
      await page.getByRole('button', { name: 'What about “Berths”?' }).waitFor()
      const { opened, open } = gate()
      let asked = 0
      model.play(() =>
        asked++ === 0
          ? { toolCalls: [{ name: 'knowledge_search', arguments: { query: 'water at berths' } }] }
          : heldAfter('They all have water.', 2, opened),
      )
      await ask(page, 'Is there water?')
      const activity = page.locator('summary', { hasText: '1 tool call' })
      await activity.click()
      // While the call goes on, the line above it names it, too.
      await page.locator('summary', { hasText: 'knowledge_search' }).filter({ hasNotText: 'tool call' }).click()
      await page.getByLabel('Result of knowledge_search').getByText('All berths have water.').waitFor()
      expect(await page.getByLabel('Arguments of knowledge_search').innerText()).toContain('"query": "water at berths"')
      // Meanwhile the next question can be written, but not sent.
      await page.getByLabel('Your question').fill('And power?')
      await page.getByLabel('Your question').press('Enter')
      await page.getByText('You can send again when it is there, or stop it.').waitFor()
      expect(await turns(page).count()).toBe(1)
      open()
      await untilAnswered(page)
      expect(model.chats().length).toBeGreaterThan(asked)

      // After a reload the same is read from the log.
      await page.reload()
      await page.locator('summary', { hasText: '1 tool call' }).click()
      await page.locator('summary', { hasText: 'knowledge_search' }).click()
      await page.getByLabel('Arguments of knowledge_search').getByText('water at berths').waitFor()
    })

    test('an answer goes on after a reload in its middle; Stop ends it, keeps what was written, and asking goes on', async () => {
      const { page } = await app.signIn('member@harbor.example')
      const later = gate()
      model.play(() => heldAfter('Half of it is here, the rest comes later.', 5, later.opened))
      await ask(page, 'Will it last?')
      await page.getByText('Half of it').waitFor()
      await page.reload()
      await page.getByText('Half of it').waitFor()
      await stopButton(page).waitFor()
      later.open()
      await page.getByText('Half of it is here, the rest comes later.').waitFor()
      await untilAnswered(page)
      expect(await turns(page).count()).toBe(1)

      const { opened, open } = gate()
      model.play(() => heldAfter('First words, and then nothing for a long time.', 3, opened))
      await ask(page, 'Tell me all')
      await page.getByText('First words,').waitFor()
      await stopButton(page).click()
      await page.getByText('Stopped. What was written until then stays.').waitFor()
      expect((await textsOf(page)).join()).toContain('First words,')
      open()
      model.play(() => ({ text: 'The second answer.' }))
      await ask(page, 'Tell me less')
      await page.getByText('The second answer.').waitFor()
      expect(await turns(page).count()).toBe(3)
    })

    test('a conversation is the same in two browsers of a person while it is written, and nobody else has it', async () => {
      const first = await app.signIn('member@harbor.example')
      const second = await app.signIn('member@harbor.example')
      const other = await app.signIn('admin@harbor.example')
      model.play(() => ({ text: 'Ready.' }))
      await ask(first.page, 'Are you there?')
      await untilAnswered(first.page)
      const hash = hashOf(first.page)
      // The list of the other window knows the conversation by itself.
      await second.page.getByRole('link', { name: /Are you there\?/ }).click()
      await second.page.getByText('Ready.').waitFor()
      expect(hashOf(second.page)).toBe(hash)

      const { opened, open } = gate()
      model.play(() => heldAfter('One, two, three, and all the rest [1].', 3, opened))
      await ask(second.page, 'Count for both')
      for (const { page } of [first, second]) {
        await page.getByText('One, two,').waitFor()
        await stopButton(page).waitFor()
        expect(await turns(page).count()).toBe(2)
      }
      expect(await first.page.getByText('all the rest').count()).toBe(0)
      open()
      for (const { page } of [first, second]) {
        await page.getByText('One, two, three, and all the rest').waitFor()
        await expect.poll(() => page.getByRole('button', { name: 'Copy the answer' }).count(), WAIT).toBe(2)
        // How many tokens it took is read after the answer has ended, by each window for itself.
        await expect.poll(() => page.getByText(/^\d+ tokens$/).count(), WAIT).toBe(2)
      }
      expect(await textsOf(first.page)).toEqual(await textsOf(second.page))

      await goto(other.page, hash)
      await other.page.getByRole('heading', { name: 'This conversation does not exist' }).waitFor()
      await other.page.getByText('Your conversations will stand here.').waitFor()
      expect(await other.page.locator('main').innerText()).not.toMatch(/One, two|Are you there|Ready/)
    })

    test('a call that needs a person’s word waits in the conversation, and goes on with it', async () => {
      const admin = await app.stack.signIn('admin@harbor.example')
      const made = await admin.functions.invoke('api/agents', { body: { name: 'Careful' } })
      const agentId = (made.data as { id: string }).id
      await admin.functions.invoke(`api/agents/${agentId}/tools`, {
        body: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
      })
      await admin.functions.invoke(`api/agents/${agentId}/hooks`, {
        body: { event: 'PreToolUse', type: 'approval', matcher: 'database_query', config: { message: 'May it look?' } },
      })
      const { page } = await app.signIn('member@harbor.example')
      let asked = 0
      model.play(() =>
        asked++ === 0
          ? { toolCalls: [{ name: 'database_query', arguments: { query: 'select body from memories' } }] }
          : { text: 'It has looked.' },
      )
      await page.getByLabel('Agent').selectOption(agentId)
      await ask(page, 'Look it up')
      await page.getByText('May it look?').waitFor()
      expect(await page.getByLabel('Arguments of database_query').innerText()).toContain('select body from memories')
      expect(await page.getByRole('link', { name: /under Approvals/ }).getAttribute('href')).toBe('#/approvals')
      await page.getByRole('button', { name: 'Approve' }).click()
      await page.getByText('It has looked.').waitFor()
      await untilAnswered(page)
      expect(await page.getByText('with Careful').isVisible()).toBe(true)
    })

    test('a failure is told with its code and can be tried again; the conversation can be renamed and deleted, for good', async () => {
      const { page } = await app.signIn('viewer@harbor.example')
      model.play(() => ({ status: 400, error: { message: 'no' }, headers: { 'x-should-retry': 'false' } }))
      await ask(page, 'Does it fail?')
      const alert = page.getByRole('alert').filter({ hasText: 'There is no whole answer' })
      await alert.waitFor()
      expect(await alert.innerText()).toMatch(/Code\s+\w+/)
      model.play(() => ({ text: 'Not any more.' }))
      await alert.getByRole('button', { name: 'Try again' }).click()
      await page.getByText('Not any more.').waitFor()

      // A conversation is renamed and deleted by its person.
      const hash = hashOf(page)
      const more = page.getByRole('navigation', { name: 'Conversations' }).getByRole('button', { name: /^More about/ })
      await more.click()
      await page.getByRole('menuitem', { name: 'Rename' }).click()
      await page.getByLabel('Title').fill('To be deleted')
      await page.getByRole('button', { name: 'Rename' }).click()
      await page.getByRole('heading', { level: 1, name: 'To be deleted' }).waitFor()
      await more.click()
      await page.getByRole('menuitem', { name: 'Delete' }).click()
      await page.getByRole('button', { name: 'Delete' }).click()
      await page.getByRole('heading', { level: 1, name: 'New conversation' }).waitFor()
      await goto(page, hash)
      await page.getByRole('heading', { name: 'This conversation does not exist' }).waitFor()
      const rows = await app.stack.service
        .from('chat_sessions')
        .select('id')
        .eq('tenant_id', HARBOR)
        .eq('title', 'To be deleted')
      expect(rows).toMatchObject({ error: null, data: [] })
    })
  },
  { userEnv: model.env },
)
