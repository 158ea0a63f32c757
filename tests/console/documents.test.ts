import { expect, test } from 'vitest'
import { MAX_FILE_BYTES as SERVER_LIMIT } from '../../supabase/functions/_shared/body.ts'
import { FILE_TYPES as SERVER_TYPES } from '../../supabase/functions/_shared/file-types.ts'
import { createBulkhead } from '../../client/index.ts'
import { piecesOf, spansOnPages, unwrapped } from '../../web/src/lib/page-text.ts'
import { bytesText, FILE_TYPES, MAX_FILE_BYTES, refusalOf } from '../../web/src/screens/documents/files.ts'
import { type Place, type Progress, stateOf } from '../../web/src/screens/documents/state.ts'
import { uploadText } from '../support/documents.ts'
import { WAIT } from '../support/stack.ts'
import { accessibilityProblems } from './support/axe.ts'
import { describeConsole, goto, PHONE } from './support/console.ts'

test('a span is found on each page that it stands on', () => {
  const pages = ['eins 𝄞', '', 'zwei', 'drei'].map((text, index) => ({ page_number: index + 1, text }))
  const joined = pages.map((page) => page.text).join('\n\n')
  for (const [from, to] of [
    [0, 4],
    [3, joined.length],
    [joined.indexOf('zwei'), joined.indexOf('zwei') + 2],
    [joined.indexOf('i\n\ndrei'), joined.indexOf('drei') + 1],
  ] as const) {
    const marked = spansOnPages(pages, { from, to }).map(({ page, ...on }) =>
      (pages[page - 1]?.text ?? '').slice(on.from, on.to),
    )
    expect(marked).toEqual(joined.slice(from, to).split('\n\n').filter(Boolean))
  }
  expect(spansOnPages(pages, { from: joined.length + 2, to: joined.length + 9 })).toEqual([])
  // The same from somewhere in the middle.
  const zwei = joined.indexOf('zwei')
  expect(spansOnPages(pages.slice(2), { from: zwei + 1, to: zwei + 3 }, zwei)).toEqual([{ page: 3, from: 1, to: 3 }])
})

test('lines that a page has broken are joined, and every offset holds', () => {
  const long = 'A line as wide as the page it was printed on, which broke'
  const text = `# Heading\n\n${long}\nit here.\n- an item\nshort\nline\n| ${long} |\nrow\n\n${long}\n\nA paragraph`
  const joined = unwrapped(text)
  expect(joined).toBe(
    `# Heading\n\n${long} it here.\n- an item\nshort\nline\n| ${long} |\nrow\n\n${long}\n\nA paragraph`,
  )
  expect(joined).toHaveLength(text.length)
})

test('a text is cut at what is marked in it, and nothing is lost', () => {
  const spans = [
    { from: 4, to: 6 },
    { from: 0, to: 2 },
    { from: 5, to: 8 },
    { from: 20, to: 30 },
  ]
  const pieces = piecesOf('0123456789', spans)
  expect(pieces.map((piece) => piece.text).join('')).toBe('0123456789')
  expect(pieces.filter((piece) => piece.isMarked).map((piece) => piece.text)).toEqual(['01', '45', '67'])
  expect(piecesOf('', spans)).toEqual([])
})

test('what is told of files before they are sent is what the server takes', () => {
  expect(Object.keys(FILE_TYPES)).toEqual(Object.keys(SERVER_TYPES))
  expect(MAX_FILE_BYTES).toBe(SERVER_LIMIT)
  expect(refusalOf({ name: 'Report.PDF', size: MAX_FILE_BYTES })).toBeNull()
  expect(refusalOf({ name: 'Report.pdf', size: MAX_FILE_BYTES + 1 })).toContain('20 MB is the most')
  expect(refusalOf({ name: 'empty.md', size: 0 })).toContain('empty')
  expect(refusalOf({ name: 'photo.png', size: 9 })).toContain('.png')
  expect(refusalOf({ name: 'README', size: 9 })).toContain('without an extension')
  expect([1, 512, 1024, 150 * 1024, 2.5 * 1024 ** 2].map(bytesText)).toEqual([
    '1 byte',
    '512 bytes',
    '1.0 kB',
    '150 kB',
    '2.5 MB',
  ])
})

test('each state of a document has one name, and a failure its remedy', () => {
  const at = '2026-11-21T10:00:00Z'
  const document = (values: Partial<Progress>): Progress => ({
    extraction_status: 'extracted',
    uploaded_at: at,
    reason_code: null,
    error_message: null,
    attempts: 1,
    next_retry_at: null,
    places: [],
    ...values,
  })
  const place = (index_status: string, values: Partial<Place> = {}): Place => ({
    id: '1',
    knowledge_base_id: '2',
    index_status,
    indexed_at: null,
    reason_code: null,
    error_message: null,
    attempts: 1,
    next_retry_at: null,
    ...values,
  })
  const told = (values: Partial<Progress>) => {
    const { label, isSettled, failure } = stateOf(document(values))
    return [label, isSettled, failure?.remedy ?? null]
  }
  expect(told({ uploaded_at: null, extraction_status: 'pending' })).toEqual(['upload incomplete', true, 'upload'])
  expect(told({ extraction_status: 'pending' })).toEqual(['stored', false, null])
  expect(told({ extraction_status: 'extracting' })).toEqual(['extracting text', false, null])
  expect(told({ extraction_status: 'failed', reason_code: 'corrupt_document' })).toEqual(['failed', true, 'extract'])
  expect(told({ extraction_status: 'failed', reason_code: 'hash_mismatch' })).toEqual(['failed', true, 'upload'])
  expect(told({ extraction_status: 'cancelled' })).toEqual(['cancelled', true, null])
  expect(told({})).toEqual(['in no knowledge base', true, null])
  expect(told({ places: [place('indexed'), place('indexing')] })).toEqual(['indexing 1 of 2', false, null])
  expect(told({ places: [place('indexed'), place('failed')] })).toEqual(['failed, indexed 1 of 2', true, 'index'])
  expect(told({ places: [place('indexed')] })).toEqual(['indexed', true, null])
  const later = stateOf(document({ places: [place('pending', { next_retry_at: at, error_message: 'Busy.' })] }))
  expect(later.detail).toContain('Attempt 1 did not succeed (Busy.)')
})

/** Extraction and indexing take their time where many tests run. */
const PROCESSED = { timeout: 45_000 }

const markdown = (name: string, text: string) => ({ name, mimeType: 'text/markdown', buffer: Buffer.from(text) })

/** Seconds by itself; minutes on a machine that builds and tests everything else at the same time. */
const LONG = { timeout: 180_000 }

describeConsole('documents', (app) => {
  test('files are chosen and dropped, and each says how far it came', LONG, async () => {
    const { page } = await app.signIn('member@harbor.example')
    await goto(page, '#/documents')
    await page.getByRole('heading', { name: 'No documents yet' }).waitFor()
    expect(await accessibilityProblems(page)).toEqual([])

    const tariff = markdown('tariff.md', '# Tariff\n\nA berth costs 40 euro an hour.\n')
    const broken = { name: 'broken.pdf', mimeType: 'application/pdf', buffer: Buffer.from('%PDF-1.4 and nothing') }
    const photo = { name: 'photo.png', mimeType: 'image/png', buffer: Buffer.from('no document') }
    const chooser = page.getByLabel('Files to upload')
    await chooser.setInputFiles([tariff, broken, photo])
    await page.getByText('Not uploaded. A .png file cannot be read.').waitFor()
    await page.getByRole('heading', { name: 'Uploads, 1 of 3 indexed' }).waitFor(PROCESSED)

    const item = page.getByRole('listitem').filter({ has: page.getByRole('link', { name: 'broken.pdf' }) })
    await item.getByText('corrupt_document').waitFor(PROCESSED)
    await item.getByText('Text not extracted').waitFor()
    expect(await accessibilityProblems(page)).toEqual([])
    const job = async () => {
      const sources = app.stack.service.schema('ai').from('sources')
      return (await sources.select('celery_task_id').eq('name', 'broken.pdf').single()).data?.celery_task_id
    }
    const before = await job()
    await item.getByRole('button', { name: 'Try again' }).click()
    await expect.poll(job, WAIT).not.toBe(before)

    const files = await page.evaluateHandle(() => {
      const transfer = new DataTransfer()
      transfer.items.add(new File(['# Rules\n\nNobody smokes at the quay.\n'], 'rules.md'))
      return transfer
    })
    const heading = page.getByRole('heading', { name: 'Documents', exact: true })
    await heading.dispatchEvent('dragenter', { dataTransfer: files })
    await page.getByText('Drop the files to upload them').waitFor()
    await heading.dispatchEvent('drop', { dataTransfer: files })
    await page.getByText('Drop the files to upload them').waitFor({ state: 'detached' })
    await page.getByRole('heading', { name: 'Uploads, 2 of 4 indexed' }).waitFor(PROCESSED)
    await page.getByRole('row', { name: /rules\.md.*Everyone.*you.*indexed/ }).waitFor()

    // The same bytes lead to their first upload.
    await chooser.setInputFiles([tariff])
    const duplicate = page.getByText('The same bytes were uploaded before')
    await duplicate.getByRole('link', { name: 'tariff.md' }).click()
    await page.getByRole('heading', { name: 'tariff.md', level: 1 }).waitFor()
    await page.getByRole('region', { name: 'Text of page 1' }).getByText('40 euro an hour').waitFor()

    // Filters narrow the list and say how many are left.
    await goto(page, '#/documents')
    await page.getByLabel('State').selectOption('failed')
    await page.getByText('1 document', { exact: true }).waitFor()
    await page.getByRole('row', { name: /broken\.pdf/ }).waitFor()
    await page.getByLabel('State').selectOption('indexed')
    await page.getByLabel('Name contains').fill('RULE')
    await page.getByRole('row', { name: /rules\.md/ }).waitFor()
    await page.getByText('1 document', { exact: true }).waitFor()
  })

  test('an upload shows how much is sent, goes on beside other screens, and can be cancelled', LONG, async () => {
    const { page } = await app.signIn('member@harbor.example')
    await goto(page, '#/documents')
    await page.getByText(/^Seen by:/).click()
    await page.getByLabel('Who may see the files you upload next').selectOption('Only me')
    const network = await page.context().newCDPSession(page)
    await network.send('Network.enable')
    const slow = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 100_000 }
    await network.send('Network.emulateNetworkConditions', slow)

    const chooser = page.getByLabel('Files to upload')
    await chooser.setInputFiles([
      { name: 'long.txt', mimeType: 'text/plain', buffer: Buffer.alloc(4_000_000, 'more and ') },
    ])
    const share = page.getByRole('meter', { name: 'Upload of long.txt' })
    await page.getByText(/^Uploading, [1-9]\d* %$/).waitFor()
    await goto(page, '#/search')
    await share.waitFor({ state: 'detached' })
    await goto(page, '#/documents')
    await share.waitFor()
    await page.getByRole('button', { name: 'Cancel the upload of long.txt' }).click()
    await share.waitFor({ state: 'detached' })
    await network.send('Network.emulateNetworkConditions', { ...slow, uploadThroughput: -1 })

    // What was chosen for the uploads still holds.
    await page.getByText('Seen by: Only me').waitFor()
    await chooser.setInputFiles([markdown('mine.md', '# Mine\n\nFor nobody else.\n')])
    await page.getByRole('row', { name: /mine\.md.*Owner only/ }).waitFor()
    const { data } = await app.stack.service.schema('ai').from('sources').select('name').eq('visibility', 'private')
    expect(data).toEqual([{ name: 'mine.md' }])
  })

  test('a citation opens the page of its span, marks it and gives it the focus', LONG, async () => {
    const client = await app.stack.signIn('member@harbor.example')
    const paragraphs = Array.from(
      { length: 60 },
      (_, index) => `Paragraph ${index + 1}. ${'Water under the keel. '.repeat(12)}`,
    )
    paragraphs.splice(50, 0, 'Here <img src="https://tracker.invalid/x.png"> and `<b onclick=alert(1)>` are only text.')
    const { id } = await uploadText(client, 'keel.md', paragraphs.join('\n\n'))
    const { data: pages } = await client
      .schema('ai')
      .from('source_pages')
      .select('text')
      .eq('source_id', id)
      .order('page_number')
    const joined = (pages ?? []).map((each) => each.text as string).join('\n\n')
    expect(pages?.length).toBeGreaterThan(1)
    const from = joined.indexOf('Paragraph 52.')
    const to = joined.indexOf('Paragraph 53.') - 2
    expect(from).toBeGreaterThan(0)

    const { page } = await app.signIn('viewer@harbor.example', { viewport: PHONE })
    await goto(page, `#/documents/${id}/span/${from}/${to}`)
    const mark = page.locator('mark')
    await mark.waitFor()
    expect(await mark.textContent()).toBe(joined.slice(from, to))
    await expect.poll(() => mark.evaluate((element) => element === document.activeElement), WAIT).toBe(true)
    expect(await mark.evaluate((element) => element.getBoundingClientRect().top < innerHeight)).toBe(true)
    const region = page.getByRole('region', { name: /^Text of page/ })
    expect(await region.locator(':not(mark)').count()).toBe(0)
    expect(await accessibilityProblems(page)).toEqual([])
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0)

    // Pages are turned by keys.
    const name = await region.getAttribute('aria-label')
    await region.focus()
    await page.keyboard.press('ArrowLeft')
    await expect.poll(() => region.getAttribute('aria-label'), WAIT).not.toBe(name)
    await page.getByRole('button', { name: 'Back to the passage' }).click()
    await mark.waitFor()

    // A span that is not there any more is said to be gone.
    await goto(page, `#/documents/${id}/span/${joined.length + 50}/${joined.length + 90}`)
    await page.getByText('The passage is not there any more').waitFor()
  })

  test('a private document is granted by name, seen, and deleted with what goes', LONG, async () => {
    const client = await app.stack.signIn('member@harbor.example')
    const bulkhead = createBulkhead(client)
    const file = new Blob(['# Salaries\n\nNobody else reads this.\n'])
    const { id } = await bulkhead.uploadSource(file, { name: 'salaries.md', visibility: 'private' })
    await bulkhead.waitUntilIndexed(id)

    const admin = await app.signIn('admin@harbor.example')
    await goto(admin.page, `#/documents/${id}`)
    await admin.page.getByRole('heading', { name: 'This document is not here' }).waitFor()

    const { page } = await app.signIn('member@harbor.example')
    await goto(page, `#/documents/${id}`)
    await page.getByRole('radio', { name: /People and groups by name/ }).check()
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Nobody is named yet').waitFor()
    await page.getByLabel('Grant it to a person or group').selectOption('admin@harbor.example')
    await page.getByRole('button', { name: 'Grant', exact: true }).click()
    await page.getByRole('button', { name: 'Take the grant of admin@harbor.example back' }).waitFor()
    expect(await accessibilityProblems(page)).toEqual([])

    await admin.page.reload()
    await admin.page.getByRole('heading', { name: 'salaries.md', level: 1 }).waitFor()

    await page.getByRole('button', { name: 'Delete' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('1 page of text').waitFor()
    await dialog.getByText('1 passage in the search index (Documents)').waitFor()
    await dialog.getByText('1 grant to people and groups').waitFor()
    await dialog.getByRole('button', { name: 'Delete for good' }).click()
    await page.getByRole('heading', { name: 'Documents', exact: true }).waitFor()
    const { data } = await app.stack.service.schema('ai').from('sources').select('id').eq('id', id)
    expect(data).toEqual([])
  })

  test('a viewer reads and is offered no change; another tenant sees nothing', LONG, async () => {
    const client = await app.stack.signIn('member@harbor.example')
    const { id } = await uploadText(client, 'open-hours.md', '# Hours\n\nThe gate opens at six.\n')

    const viewer = await app.signIn('viewer@harbor.example')
    await goto(viewer.page, '#/documents')
    await viewer.page.getByRole('link', { name: 'open-hours.md' }).waitFor()
    expect(await viewer.page.getByRole('button', { name: 'Upload files' }).count()).toBe(0)
    expect(await viewer.page.getByLabel('Files to upload').count()).toBe(0)
    await viewer.page.getByRole('link', { name: 'open-hours.md' }).click()
    await viewer.page.getByText('The gate opens at six.').waitFor()
    const saved = new Promise<string>((resolve) => {
      viewer.context.once('page', (tab) => tab.once('download', (download) => resolve(download.suggestedFilename())))
    })
    await viewer.page.getByRole('button', { name: 'Original file' }).click()
    expect(await saved).toBe('open-hours.md')
    expect(await viewer.page.getByRole('button', { name: /Delete|Index again|Save/ }).count()).toBe(0)
    expect(await viewer.page.getByRole('radio').count()).toBe(0)

    const stranger = await app.signIn('owner@meridian.example')
    await goto(stranger.page, '#/documents')
    await stranger.page.getByRole('heading', { name: 'No documents yet' }).waitFor()
    await goto(stranger.page, `#/documents/${id}`)
    await stranger.page.getByRole('heading', { name: 'This document is not here' }).waitFor()
  })
})
