import { expect, test } from 'vitest'
import { type Asked, askedIn, NOTHING_ASKED, routeOf } from '../../web/src/screens/search/asked.ts'
import { matchesIn } from '../../web/src/screens/search/matches.ts'
import { uploadText } from '../support/documents.ts'
import { WAIT } from '../support/stack.ts'
import { accessibilityProblems } from './support/axe.ts'
import { describeConsole, goto, PHONE } from './support/console.ts'

test('a search stands in the address and comes back from it', () => {
  const searches: Asked[] = [
    { ...NOTHING_ASKED, query: 'What does berth 12 cost?' },
    { ...NOTHING_ASKED, query: '100 % of "a/b" ~ #1 & -c? ü 𝄞 (x)!', method: 'full_text' },
    {
      query: 'x',
      knowledgeBaseIds: ['0b23bbdc-4d54-442b-a014-bf395beff25f', '1b23bbdc-4d54-442b-a014-bf395beff25f'],
      method: 'hybrid',
      fusion: 'weighted',
      vectorWeight: 0,
      topK: 100,
      rerank: false,
      maxPerSource: 2,
      deduplicate: true,
    },
  ]
  for (const asked of searches) {
    const route = routeOf(asked)
    // Neither sign survives the router.
    expect(route).not.toMatch(/[%?#]/)
    const [, , query, options] = route.split('/')
    expect(askedIn(query, options)).toEqual(asked)
  }
  expect(routeOf({ ...NOTHING_ASKED, query: '  ' })).toBe('/')
  expect(askedIn('~E0~A4', 'top~3D900~26method~3Dguess')).toEqual(NOTHING_ASKED)
})

test('what a passage was found by is marked in it, in the forms of the words', () => {
  const marked = (text: string, terms: string[], identifiers: string[] = []) =>
    matchesIn(text, terms, identifiers).map(({ from, to }) => text.slice(from, to))
  expect(marked('Policies, one policy; police', ['polici'])).toEqual(['Policies', 'policy'])
  expect(marked('Charges charge the charger, article', ['charg', 'art'])).toEqual(['Charges', 'charge', 'charger'])
  expect(marked('Gebühren für Gebuhr', ['gebuhr'])).toEqual(['Gebühren', 'Gebuhr'])
  expect(marked('12 of 120 and 3.12', ['12'])).toEqual(['12', '12'])
  expect(marked('泊位十二的费用', ['泊位', '费用'])).toEqual(['泊位', '费用'])
  expect(marked('See INV-2024-00812, inv 2024 00812 and XINV202400812.', [], ['INV202400812'])).toEqual([
    'INV-2024-00812',
    'inv 2024 00812',
  ])
  expect(marked('a.b [x', ['(', '[x'], ['.*'])).toEqual([])
})

/** Seconds by itself; minutes on a machine that builds and tests everything else at the same time. */
const LONG = { timeout: 180_000 }

describeConsole('search', (app) => {
  test('results say by bars and marks why they were found, and open at their span', LONG, async () => {
    const client = await app.stack.signIn('member@harbor.example')
    const text = '# Berths\n\nBerth 12 costs 40 euro after six hours. Invoice INV-2024-00812 charges for it.'
    await uploadText(client, 'berths.md', text)
    await uploadText(client, 'canteen.md', '# Canteen\n\nSoup is served at noon, and on Fridays there is fish.')

    const { page } = await app.signIn('viewer@harbor.example')
    await goto(page, '#/search')
    await page.getByRole('heading', { name: 'Ask for what you want to find' }).waitFor()
    expect(await accessibilityProblems(page)).toEqual([])
    await page.getByRole('searchbox', { name: 'What to find' }).fill('What does a berth cost on INV202400812?')
    await page.keyboard.press('Enter')
    const result = page.getByRole('article').filter({ has: page.getByRole('link', { name: 'berths.md' }) })
    await result.waitFor()
    expect(await page.getByRole('article').first().getByRole('heading').innerText()).toContain('berths.md')
    for (const name of [/^Score/, 'Meaning, score', 'Words, score', /^Identifier, share/]) {
      await result.getByRole('meter', { name }).waitFor()
    }
    await result.getByText('rank 1').first().waitFor()
    await result.getByText('exact', { exact: true }).waitFor()
    const marks = await result.locator('mark').allTextContents()
    expect(marks).toEqual(expect.arrayContaining(['Berth', 'costs', 'INV-2024-00812']))
    expect(marks).not.toContain('euro')
    expect(await accessibilityProblems(page)).toEqual([])

    await page.reload()
    await result.getByRole('button', { name: 'Show it on its page' }).click()
    const onPage = result.getByRole('region', { name: 'Text of page 1' }).locator('mark')
    await onPage.waitFor()
    expect(await onPage.textContent()).toContain('Berth 12 costs 40 euro after six hours.')
    await result.getByRole('link', { name: 'Open the document here' }).click()
    await page.getByRole('heading', { name: 'berths.md', level: 1 }).waitFor()
    await page.locator('mark').waitFor()
    expect(await page.evaluate(() => location.hash)).toMatch(/^#\/documents\/[0-9a-f-]{36}\/span\/\d+\/\d+$/)
  })

  test('options are part of the address, and who may see nothing finds nothing', LONG, async () => {
    const client = await app.stack.signIn('member@harbor.example')
    await uploadText(client, 'cranes.md', '# Cranes\n\nThe crane lifts eighty tonnes.')

    const { page } = await app.signIn('member@harbor.example', { viewport: PHONE, colorScheme: 'dark' })
    await goto(page, '#/search')
    await page.getByText(/^All knowledge bases/).click()
    await page.getByLabel('Method').selectOption('full_text')
    await page.getByRole('searchbox').fill('crane')
    await page.keyboard.press('Enter')
    await page.getByText('Meaning was not compared').waitFor()
    await page.getByRole('link', { name: 'cranes.md' }).waitFor()
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0)
    expect(await accessibilityProblems(page)).toEqual([])
    await page.reload()
    await page.getByText('Meaning was not compared').waitFor()
    await expect.poll(() => page.getByRole('searchbox').inputValue(), WAIT).toBe('crane')

    const stranger = await app.signIn('member@meridian.example')
    const hash = await page.evaluate(() => location.hash)
    await goto(stranger.page, hash)
    await stranger.page.getByRole('heading', { name: 'Nothing was found' }).waitFor()
    expect(await stranger.page.getByRole('article').count()).toBe(0)
    expect(await accessibilityProblems(stranger.page)).toEqual([])
  })
})
