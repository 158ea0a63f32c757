import type { Page } from 'playwright-core'
import { afterAll, expect, test } from 'vitest'
import { createBulkhead } from '../../client/index.ts'
import { startScriptedModel } from '../support/scripted-model/index.ts'
import { accessibilityProblems } from './support/axe.ts'
import { describeConsole, goto } from './support/console.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'

const model = await startScriptedModel()
afterAll(() => model.stop())

const step = (page: Page, number: number) =>
  page
    .getByRole('listitem')
    .filter({ hasText: `Step ${number}` })
    .first()

describeConsole(
  'runs',
  (app) => {
    test('a run is followed live with its steps, ends by a click, and stays its person’s', async () => {
      const { page } = await app.signIn('member@harbor.example')
      await goto(page, '#/runs')
      await page.getByRole('heading', { name: 'No run yet' }).waitFor()

      let go = () => {}
      const held = new Promise<void>((resolve) => (go = resolve))
      let asked = 0
      model.play(() => {
        asked++
        if (asked === 1) return { toolCalls: [{ name: 'knowledge_search', arguments: { query: 'berths' } }] }
        let sent = 0
        return { text: 'So far so good, and more to come.', between: () => (sent++ < 4 ? Promise.resolve() : held) }
      })
      const member = await app.stack.signIn('member@harbor.example')
      const chat = createBulkhead(member).chat({ message: 'What about berths?' })
      const { value: first } = await chat.next()
      expect(first).toMatchObject({ event: 'session' })
      // Read on by nobody: the run goes on all the same.
      await chat.next()
      await chat.return()

      const link = page.getByRole('link', { name: 'What about berths?' })
      await page.reload()
      await link.click()
      await page.getByText('under way').waitFor()
      await step(page, 2).waitFor()
      await page.locator('summary', { hasText: 'knowledge_search' }).click()
      await page.getByLabel('Arguments of knowledge_search').getByText('"query": "berths"').waitFor()
      await page.getByLabel('Result of knowledge_search').waitFor()
      await page.getByText('So far so').waitFor()
      expect(await accessibilityProblems(page)).toEqual([])

      await page.getByRole('button', { name: 'Cancel the run' }).click()
      await page.getByText('cancelled', { exact: true }).waitFor()
      await page.getByRole('button', { name: 'Cancel the run' }).waitFor({ state: 'detached' })
      go()
      // What the first call of the model has used is booked under its step.
      await step(page, 1)
        .getByText(/^\d+ tokens · scripted-model/)
        .waitFor()
      await page.locator('summary', { hasText: 'Event log' }).click()
      await page.locator('summary', { hasText: 'tool_call' }).first().waitFor()

      await page.getByRole('link', { name: 'All runs' }).click()
      await link.waitFor()
      expect(await accessibilityProblems(page)).toEqual([])
      await page.getByLabel('Status').selectOption('cancelled')
      await link.waitFor()
      await page.getByLabel('Status').selectOption('completed')
      await page.getByRole('heading', { name: 'No run of this status' }).waitFor()

      // By its public id, by that of the tables, and by neither for anybody else.
      const { data } = await member.schema('ai').from('agent_runs').select('id, run_id').single()
      const admin = await app.signIn('admin@harbor.example')
      for (const id of [data?.id as string, data?.run_id as string]) {
        await goto(page, `#/runs/${id}`)
        await page.getByRole('heading', { name: 'What about berths?' }).waitFor()
        await goto(admin.page, `#/runs/${id}`)
        await admin.page.getByRole('heading', { name: 'This run does not exist' }).waitFor()
        await goto(admin.page, '#/runs')
      }
    })

    test('a run that failed says why, and what was tried again', async () => {
      const { page } = await app.signIn('member@harbor.example')
      let asked = 0
      model.play(() =>
        asked++ === 0
          ? { text: 'Never', cutAfter: 1 }
          : { status: 400, error: { message: 'no' }, headers: { 'x-should-retry': 'false' } },
      )
      const member = await app.stack.signIn('member@harbor.example')
      for await (const event of createBulkhead(member).chat({ message: 'Does it fail?' })) {
        if (event.event === 'complete') expect(event.status).toBe('failed')
      }
      await goto(page, '#/runs')
      await page.getByLabel('Status').selectOption('failed')
      await page.getByRole('link', { name: 'Does it fail?' }).click()
      const alert = page.getByRole('alert')
      await alert.waitFor()
      expect(await alert.innerText()).toContain('upstream_failed')
      await page.getByText('The model failed, the step began again').waitFor()
      await page.getByRole('link', { name: 'open it' }).click()
      await page.getByRole('heading', { level: 1, name: 'Does it fail?' }).waitFor()
    })

    test('a call that was interrupted is decided about by the person of the run', async () => {
      // Whoever made the call is gone, and nobody knows whether it took effect.
      const { db } = app.stack
      const [person] = await db.query<{ id: string }>('select id from auth.users where email = $1', [
        'viewer@harbor.example',
      ])
      const [session] = await db.query<{ id: string }>(
        `insert into ai.agent_sessions (tenant_id, session_id, agent_id, user_id)
         select tenant_id, 'interrupted', id, $1 from ai.agents where tenant_id = $2 and is_default returning id`,
        [person?.id, HARBOR],
      )
      const [run] = await db.query<{ id: string; run_id: string }>(
        `insert into ai.agent_runs (tenant_id, session_id, agent_id, user_id, principal_id, status, wait_reason, last_seq, input_messages)
         select tenant_id, id, agent_id, user_id, user_id, 'waiting', 'unsafe_call', 3, '[{"role": "user", "content": "Send it"}]'
         from ai.agent_sessions where id = $1 returning id, run_id`,
        [session?.id],
      )
      const call = { step: 1, call_id: 'call_1', tool_name: 'send_mail', arguments: { to: 'harbour master' } }
      const events = [
        { type: 'step_started', event: 'step_started', step: 1 },
        { type: 'tool_call', event: 'tool_call', ...call },
        { type: 'call_interrupted', event: 'call_interrupted', ...call },
      ]
      for (const [at, event] of events.entries()) {
        await db.query(
          'insert into ai.run_events (tenant_id, run_id, seq, type, payload, user_id) values ($1, $2, $3, $4, $5, $6)',
          [HARBOR, run?.id, at + 1, event.type, JSON.stringify(event), person?.id],
        )
      }
      await db.query('insert into ai.run_steps (tenant_id, run_id, step, user_id, calls) values ($1, $2, 1, $3, $4)', [
        HARBOR,
        run?.id,
        person?.id,
        JSON.stringify({ call_1: { started: { ...call, op: 'call_started', is_retry_safe: false, attempt: 1 } } }),
      ])

      const { page } = await app.signIn('viewer@harbor.example')
      await goto(page, `#/runs/${run?.run_id}`)
      await page.getByText('It may have taken effect.').waitFor()
      expect(await accessibilityProblems(page)).toEqual([])
      for (const name of ['Make it again', 'Go on without']) {
        expect(await page.getByRole('button', { name }).isEnabled()).toBe(true)
      }
      await page.getByRole('button', { name: 'End the run' }).click()
      await page.getByRole('alert').filter({ hasText: 'interrupted' }).waitFor()
      await page.getByRole('button', { name: 'End the run' }).waitFor({ state: 'detached' })
      expect(await db.query('select status, error_code from ai.agent_runs where id = $1', [run?.id])).toEqual([
        { status: 'failed', error_code: 'interrupted' },
      ])
    })
  },
  { userEnv: model.env },
)
