import { afterAll, expect, test } from 'vitest'
import { script, startScriptedModel } from '../support/scripted-model/index.ts'
import { accessibilityProblems } from './support/axe.ts'
import { describeConsole, goto } from './support/console.ts'

const model = await startScriptedModel()
afterAll(() => model.stop())

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
/** With a character at its end that turns the direction of what follows, and shows nothing itself. */
const NOTE = 'The crane of berth 12 is out of order until Friday.\u202e'

describeConsole(
  'agents and approvals',
  (app) => {
    test('a call that has to be approved is made once an admin says yes to exactly its arguments', async () => {
      const admin = await app.signIn('admin@harbor.example')
      const { page } = admin
      await goto(page, '#/agents')
      await page.getByRole('button', { name: 'Create an agent' }).click()
      const creating = page.getByRole('dialog')
      await creating.getByLabel('Name').fill('Clerk')
      await creating.getByLabel('Instructions').fill('You note what people tell you.')
      await creating.getByRole('button', { name: 'Create' }).click()
      await page.getByRole('heading', { name: 'Clerk', level: 1 }).waitFor()
      expect(await accessibilityProblems(page)).toEqual([])

      await page.getByRole('tab', { name: 'Tools' }).click()
      await page.getByLabel('Give a tool').selectOption('database_write')
      const dialog = page.getByRole('dialog')
      await dialog.getByLabel('Configuration (JSON)').fill('{"schemas": ')
      await dialog.getByText('This is not a JSON object.').waitFor()
      await dialog.getByLabel('Configuration (JSON)').fill('{"schemas": {"public": ["memories"]}}')
      await dialog.getByLabel('Everybody').selectOption('ask')
      await dialog.getByLabel('Least role').selectOption('admin')
      await dialog.getByLabel('Four eyes').check()
      await dialog.getByLabel('What they are told').fill('May I write this down?')
      expect(await accessibilityProblems(page)).toEqual([])
      await dialog.getByRole('button', { name: 'Save' }).click()
      await page
        .getByRole('row', { name: /database_write/ })
        .getByText('ask', { exact: true })
        .waitFor()

      const data = { tenant_id: HARBOR, user_id: MEMBER, body: NOTE }
      model.play(
        script([
          { toolCalls: [{ name: 'database_write', arguments: { table: 'memories', operation: 'insert', data } }] },
          { text: 'It is written down.' },
        ]),
      )
      const member = await app.signIn('member@harbor.example')
      await goto(member.page, '#/agents')
      await member.page.getByRole('link', { name: 'Clerk' }).click()
      await member.page.getByRole('tab', { name: 'Try it' }).click()
      await member.page.getByLabel('Ask Clerk').fill('Please note that the crane is out of order.')
      await member.page.getByRole('button', { name: 'Ask', exact: true }).click()

      // Who leaves before the run has begun has not asked.
      await member.page.getByRole('link', { name: 'Go on in the chat' }).waitFor()

      // The person it is for sees it wait and may not decide: four eyes.
      await goto(member.page, '#/approvals')
      await member.page.getByText('This is not for you to decide.').waitFor()
      expect(await member.page.getByRole('button', { name: 'Approve' }).count()).toBe(0)

      await goto(page, '#/approvals')
      await page.getByText('May I write this down?').waitFor()
      expect(await page.getByLabel('Arguments of database_write').innerText()).toContain(
        NOTE.replace('\u202e', '\\u202e'),
      )
      await page.getByRole('timer').waitFor()
      expect(await accessibilityProblems(page)).toEqual([])
      await page.getByLabel('Reason').fill('The crane is broken indeed.')
      await page.getByRole('button', { name: 'Approve' }).click()
      await page.getByRole('heading', { name: 'Nothing waits' }).waitFor()
      await page.getByRole('tab', { name: 'Decided' }).click()
      await page.getByText('“The crane is broken indeed.”').waitFor()
      expect(await accessibilityProblems(page)).toEqual([])

      await expect
        .poll(async () => (await app.stack.service.from('memories').select('body').eq('body', NOTE)).data)
        .toEqual([{ body: NOTE }])
    })

    test('another tenant is offered nothing of it', async () => {
      const other = await app.signIn('owner@meridian.example')
      await goto(other.page, '#/approvals')
      await other.page.getByRole('heading', { name: 'Nothing waits' }).waitFor()
      await goto(other.page, '#/agents')
      await other.page.getByRole('heading', { name: 'Agents', level: 1 }).waitFor()
      await other.page.getByRole('table', { name: 'Agents' }).waitFor()
      expect(await other.page.getByRole('link', { name: 'Clerk' }).count()).toBe(0)
    })

    test('a viewer reads agents and changes none', async () => {
      const viewer = await app.signIn('viewer@harbor.example')
      await goto(viewer.page, '#/agents')
      await viewer.page.getByRole('link', { name: 'Clerk' }).click()
      await viewer.page.getByLabel('Instructions').waitFor()
      expect(await viewer.page.getByLabel('Instructions').isEditable()).toBe(false)
      for (const name of ['Save', 'Delete']) expect(await viewer.page.getByRole('button', { name }).count()).toBe(0)
    })
  },
  { userEnv: model.env },
)
