import { expect, test } from 'vitest'
import { createBulkhead } from '../../client/index.ts'
import { uploadText } from '../support/documents.ts'
import { accessibilityProblems } from './support/axe.ts'
import { describeConsole, goto, PHONE } from './support/console.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const VIEWER = 'a0000000-0000-4000-8000-000000000004'

/** Seconds by itself; more where everything else runs beside it. */
const LONG = { timeout: 180_000 }

describeConsole('tenancy', (app) => {
  test('two people of two tenants go the main path, and each meets their own only', LONG, async () => {
    const question = 'What does the night shift at berth 12 cost?'
    const ours = await app.signIn('member@harbor.example')
    const theirs = await app.signIn('member@meridian.example')
    await goto(ours.page, '#/documents')
    const text = '# Night shift\n\nThe night shift at berth 12 costs 310 euro.\n'
    await ours.page
      .getByLabel('Files to upload')
      .setInputFiles([{ name: 'night-shift.md', mimeType: 'text/markdown', buffer: Buffer.from(text) }])
    await ours.page.getByRole('row', { name: /night-shift\.md.*indexed/ }).waitFor({ timeout: 45_000 })

    await goto(ours.page, '#/chat')
    await ours.page.getByLabel('Your question').fill(question)
    await ours.page.keyboard.press('Enter')
    await ours.page.getByRole('link', { name: 'Source 1: night-shift.md, page 1' }).first().click()
    await ours.page.getByRole('heading', { name: 'night-shift.md', level: 1 }).waitFor()
    await expect.poll(() => ours.page.locator('mark').first().innerText()).toContain('310 euro')

    // The other tenant has nothing of it, by whatever way.
    await goto(theirs.page, '#/documents')
    await theirs.page.getByRole('heading', { name: 'No documents yet' }).waitFor()
    await goto(theirs.page, '#/search')
    await theirs.page.getByRole('searchbox').first().fill(question)
    await theirs.page.keyboard.press('Enter')
    await theirs.page.getByRole('heading', { name: 'Nothing was found' }).waitFor()
    await goto(theirs.page, new URL(ours.page.url()).hash)
    await theirs.page.getByRole('heading', { name: 'This document is not here' }).waitFor()
    for (const secret of ['310 euro', 'night-shift']) {
      expect(await theirs.page.locator('body').innerText()).not.toContain(secret)
    }
  })

  test('who is removed sees the open window go blank, and reads why', async () => {
    const viewer = await app.signIn('viewer@harbor.example')
    await goto(viewer.page, '#/people')
    await viewer.page.getByRole('rowheader', { name: /owner@harbor\.example/ }).waitFor()

    const admin = await app.signIn('admin@harbor.example')
    await goto(admin.page, '#/people')
    await admin.page.getByRole('button', { name: 'Remove viewer@harbor.example' }).click()
    await admin.page.getByRole('dialog').getByRole('button', { name: 'Remove', exact: true }).click()
    await admin.page.getByRole('rowheader', { name: /viewer@harbor\.example/ }).waitFor({ state: 'detached' })

    await viewer.page.getByRole('heading', { name: 'You are no longer a member of Harbor Logistics' }).waitFor()
    expect(await viewer.page.locator('body').innerText()).not.toContain('owner@harbor.example')
    expect(await viewer.page.getByRole('navigation').count()).toBe(0)
    expect(await accessibilityProblems(viewer.page)).toEqual([])

    const { error } = await app.stack.service
      .from('memberships')
      .insert({ tenant_id: HARBOR, user_id: VIEWER, role: 'viewer' })
    expect(error).toBeNull()
    await viewer.page.getByRole('navigation', { name: 'Screens' }).waitFor()
  })

  test('an admin invites, the invited joins, and only what the role may do is offered', async () => {
    const admin = await app.signIn('admin@harbor.example')
    await goto(admin.page, '#/people')
    await admin.page.getByRole('tab', { name: 'Invitations' }).click()
    await admin.page.getByLabel('E-mail address').fill('outsider@bulkhead.example')
    await admin.page.getByLabel('Role').selectOption('viewer')
    expect(await admin.page.getByLabel('Role').locator('option').allTextContents()).not.toContain('owner')
    await admin.page.getByRole('button', { name: 'Invite', exact: true }).click()
    await admin.page.getByRole('rowheader', { name: 'outsider@bulkhead.example' }).waitFor()
    expect(await accessibilityProblems(admin.page)).toEqual([])

    const outsider = await app.signIn('outsider@bulkhead.example', { viewport: PHONE })
    await outsider.page.getByText('to Harbor Logistics as viewer').waitFor()
    expect(await accessibilityProblems(outsider.page)).toEqual([])
    await outsider.page.getByRole('button', { name: 'Join' }).click()
    await outsider.page.getByRole('navigation', { name: 'Screens' }).waitFor()
    expect(await outsider.page.getByRole('link', { name: 'Audit' }).count()).toBe(0)
    await goto(outsider.page, '#/people')
    await outsider.page.getByRole('rowheader', { name: /outsider@bulkhead\.example/ }).waitFor()
    expect(await outsider.page.getByRole('button', { name: /^Remove/ }).count()).toBe(0)
    expect(await outsider.page.getByRole('tab', { name: 'Invitations' }).count()).toBe(0)
  })

  test('a tab has its own tenant, and nothing of one shows in the other', async () => {
    const person = await app.signIn('both@bulkhead.example')
    const first = person.page
    await first.getByLabel('Tenant of this tab').selectOption(HARBOR)
    const second = await person.window('#/people')
    await second.getByLabel('Tenant of this tab').selectOption(MERIDIAN)
    await second.getByRole('rowheader', { name: /owner@meridian\.example/ }).waitFor()
    await goto(first, '#/people')
    await first.getByRole('rowheader', { name: /owner@harbor\.example/ }).waitFor()
    expect(await first.locator('body').innerText()).not.toContain('meridian.example')
    expect(await second.locator('body').innerText()).not.toContain('harbor.example')
    await second.reload()
    await second.getByRole('rowheader', { name: /owner@meridian\.example/ }).waitFor()
  })

  test('access says who can see a document and why, and keeps quiet about what the reader cannot see', async () => {
    const member = await app.stack.signIn('member@harbor.example')
    const open = await uploadText(member, 'harbour-rules.md', '# Rules\n\nMoor at berth 12.\n')
    const diary = new Blob(['# Diary\n\nNobody reads this.\n'])
    const hidden = await createBulkhead(member).uploadSource(diary, { name: 'my-diary.md', visibility: 'private' })

    const admin = await app.signIn('admin@harbor.example')
    await goto(admin.page, `#/access/document/${open.id}`)
    const viewer = admin.page.getByRole('row', { name: /viewer@harbor\.example/ })
    await viewer.getByText('the whole tenant may').waitFor()
    await admin.page
      .getByRole('row', { name: /member@harbor\.example/ })
      .getByText('it is theirs')
      .waitFor()
    expect(await accessibilityProblems(admin.page)).toEqual([])
    await viewer.getByRole('link', { name: 'What else can they see?' }).click()
    await admin.page.getByRole('rowheader', { name: 'harbour-rules.md' }).waitFor()

    await goto(admin.page, `#/access/document/${hidden.id}`)
    await admin.page.getByRole('alert').getByText('not_found').waitFor()
    expect(await admin.page.locator('body').innerText()).not.toContain('my-diary')
  })

  test('usage draws tokens and budgets, audit verifies its chain, filters and exports', async () => {
    const admin = await app.signIn('admin@harbor.example')
    const { page } = admin
    const client = await app.stack.signIn('member@harbor.example')
    const answer = await client.functions.invoke('chat', { body: { message: 'Where do I moor?' } })
    expect(answer.error).toBeNull()
    await new Response((answer.data as Response).body).text()

    await goto(page, '#/usage')
    await page.getByRole('button', { name: 'Set a budget' }).click()
    await page.getByLabel('Tokens', { exact: true }).fill('50000')
    await page.getByRole('button', { name: 'Set', exact: true }).click()
    await page.getByRole('meter', { name: 'Used of the budget' }).first().waitFor()
    await page.getByRole('figure', { name: /Tokens of the last 30 days by person/ }).waitFor()
    await page.getByRole('rowheader', { name: 'member@harbor.example' }).first().waitFor()
    expect(await accessibilityProblems(page)).toEqual([])

    await goto(page, '#/audit')
    await page.getByRole('rowheader', { name: 'budget.set' }).waitFor()
    await page.getByRole('button', { name: 'Verify' }).click()
    await page.getByText('whole', { exact: true }).waitFor()
    expect(await accessibilityProblems(page)).toEqual([])
    await page.getByLabel('What').selectOption('budget')
    await page
      .getByRole('rowheader', { name: /^membership/ })
      .first()
      .waitFor({ state: 'detached' })
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Export' }).click(),
    ])
    const lines: string[] = []
    for await (const chunk of await download.createReadStream()) lines.push(String(chunk))
    const rows = lines
      .join('')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { action: string; tenant_id: string })
    expect(rows.length).toBeGreaterThan(0)
    expect(rows.every(({ action, tenant_id }) => action.startsWith('budget.') && tenant_id === HARBOR)).toBe(true)
  })
})
