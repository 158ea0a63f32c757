// npm run demo: one document, one question, two tenants.
import { readFile } from 'node:fs/promises'
import process from 'node:process'
import { createClient } from '@supabase/supabase-js'
import { BulkheadError, type Citation, createBulkhead } from '../client/index.ts'

const URL_DEFAULT = `http://127.0.0.1:${process.env['BULKHEAD_API_PORT'] ?? 54321}`
/** The publishable key of every local stack; a hosted project has its own. */
const KEY_DEFAULT = 'sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH'

const url = process.env['SUPABASE_URL'] ?? URL_DEFAULT
const key = process.env['SUPABASE_PUBLISHABLE_KEY'] ?? KEY_DEFAULT
const password = process.env['DEMO_PASSWORD'] ?? 'bulkhead-demo'
const question = 'What do LLM agents provide and seek in a dialog with each other or with humans?'
const documentName = 'multi-agent-conversation.pdf'

const say = (line: string): void => console.log(line)

/** Says what the person has to put right, and ends. */
function fail(message: string): never {
  console.error(message)
  process.exit(1)
}

async function signIn(email: string) {
  const supabase = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } })
  const { error } = await supabase.auth.signInWithPassword({ email, password })
  if (error) {
    fail(
      error.status
        ? `${email} could not sign in at ${url}: ${error.message}`
        : `There is no stack at ${url}. Run npm start in another terminal first. If it has another port, name it here as there: BULKHEAD_API_PORT=55321 npm run demo`,
    )
  }
  return createBulkhead(supabase)
}

/** Uploads the document, or takes the one of an earlier demo, and waits until it can be searched. */
async function provideDocument(bulkhead: Awaited<ReturnType<typeof signIn>>): Promise<string> {
  const bytes = await readFile(new URL(documentName, import.meta.url))
  let id: string
  try {
    const source = await bulkhead.uploadSource(new Blob([bytes], { type: 'application/pdf' }), { name: documentName })
    id = source.id
    say(`  uploaded ${documentName} (${bytes.length} bytes) as source ${id}`)
  } catch (error) {
    const duplicate =
      error instanceof BulkheadError && error.code === 'duplicate_source' ? error.details['duplicate'] : undefined
    if (!duplicate) throw error
    id = (duplicate as { id: string }).id
    say(`  ${documentName} is here from an earlier demo, as source ${id}`)
  }
  const source = await bulkhead.waitUntilIndexed(id)
  say(`  extracted (${source.page_count} page) and indexed`)
  return id
}

type Answer = { text: string; citations: Citation[]; retrieved: number }

/** Asks, prints the answer as it streams in, and returns it. */
async function ask(bulkhead: Awaited<ReturnType<typeof signIn>>): Promise<Answer> {
  let text = ''
  process.stdout.write('  ')
  for await (const event of bulkhead.chat({ message: question })) {
    if (event.event === 'content_delta') process.stdout.write(event.delta)
    if (event.event === 'chunk') text += event.content
    if (event.event === 'error') throw new Error(`The answer failed: ${event.error}`)
    if (event.event === 'complete') {
      process.stdout.write('\n')
      return { text, citations: event.citations ?? [], retrieved: event.retrieved_items ?? 0 }
    }
  }
  throw new Error('The answer never came to its end.')
}

function check(condition: boolean, expectation: string): void {
  say(`  ${condition ? 'ok  ' : 'NOT '} ${expectation}`)
  if (!condition) process.exitCode = 1
}

say(`Question: ${question}\n`)

say('member@harbor.example, tenant Harbor Logistics')
const harbor = await signIn('member@harbor.example')
const sourceId = await provideDocument(harbor)
const harborAnswer = await ask(harbor)
for (const citation of harborAnswer.citations) {
  say(
    `  [${citation.citation_key}] ${citation.meta.source_name}, page ${(citation.meta.pages ?? []).join(', ')}: “${citation.text_excerpt.slice(0, 80)}…”`,
  )
}
check(
  harborAnswer.citations.some((citation) => citation.source_id === sourceId),
  'the answer cites the document',
)
check(/\[\d+\]/.test(harborAnswer.text), 'and marks where')

say('\nmember@meridian.example, tenant Meridian Health')
const meridian = await signIn('member@meridian.example')
const meridianAnswer = await ask(meridian)
check(meridianAnswer.citations.length === 0, 'no citation')
check(/found nothing/i.test(meridianAnswer.text), 'the answer says that nothing was found')
const foreign = await meridian.getSource(sourceId).then(
  () => 'found',
  (error: unknown) => (error instanceof BulkheadError ? error.code : 'other'),
)
check(foreign === 'not_found', 'the document of the other tenant does not exist for this one')

say(process.exitCode ? '\nThe demo did not go as it should.' : '\nAs it should be.')
