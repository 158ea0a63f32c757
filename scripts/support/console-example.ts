import { readFile } from 'node:fs/promises'
import type { SupabaseClient } from '@supabase/supabase-js'
import { createBulkhead } from '../../client/index.ts'

/** Who has what there is to see, and looks at it. */
export const EXAMPLE_OWNER = 'owner@harbor.example'

const DOCUMENTS = [
  ['demo/multi-agent-conversation.pdf', 'application/pdf', 'tenant'],
  ['tests/fixtures/documents/py-pdf/pdflatex-4-pages.pdf', 'application/pdf', 'private'],
  // A scan: it has no text to find, so it shows how a failure looks.
  ['tests/fixtures/documents/py-pdf/imagemagick-images.pdf', 'application/pdf', 'tenant'],
] as const

const QUESTION = 'What do LLM agents provide and seek in a dialog with each other or with humans?'

/**
 * Gives the seeded tenant Harbor Logistics something of everything: documents, a chat, agents, runs, an approval that
 * waits. With the offline pair, so that it is the same each time.
 * @param supabase a client on which EXAMPLE_OWNER is signed in
 * @throws when the stack refuses anything
 */
export const fillExampleTenant = async (supabase: SupabaseClient, url: string): Promise<void> => {
  const bulkhead = createBulkhead(supabase)
  for (const [file, type, visibility] of DOCUMENTS) {
    const name = file.slice(file.lastIndexOf('/') + 1)
    const source = await bulkhead.uploadSource(new Blob([await readFile(file)], { type }), { name, visibility })
    // The last one is meant to fail.
    await bulkhead.waitUntilIndexed(source.id).catch(() => {})
  }
  for await (const event of bulkhead.chat({ message: QUESTION })) {
    if (event.event === 'error') throw new Error(`The example's question failed: ${JSON.stringify(event)}`)
  }
  const send = sender(supabase, url)
  const post = async (path: string, body: object) => (await (await send(path, body)).json()) as { id: string }
  const { data: base, error } = await supabase.schema('ai').from('knowledge_bases').select('id').limit(1).single()
  if (error) throw new Error(`The example found no knowledge base: ${error.message}`)
  const agent = async (name: string, description: string) => {
    const made = await post('/agents', { name, description })
    // With it comes the tool that searches it.
    await post(`/agents/${made.id}/knowledge-bases`, { knowledge_base_id: base.id })
    return made.id
  }
  const clerk = await agent('Clerk', 'Answers from the documents of the tenant.')
  const careful = await agent('Careful clerk', 'Asks before it reads.')
  await post(`/agents/${careful}/hooks`, { event: 'PreToolUse', type: 'approval', config: { timeout: 86_400 } })
  await (await send(`/agents/${clerk}/run/stream`, { message: QUESTION })).text()
  // This one ends only when somebody decides; nobody listens on for that.
  const stream = await send(`/agents/${careful}/run/stream`, { message: QUESTION })
  let events = ''
  for await (const text of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    events += text
    if (events.includes('approval_requested')) return
  }
  throw new Error(`The example's run did not ask for an approval:\n${events}`)
}

/** Asks the agent API as the person. */
const sender = (supabase: SupabaseClient, url: string) => async (path: string, body: object) => {
  const { data } = await supabase.auth.getSession()
  const response = await fetch(`${url}/functions/v1/api${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${data.session?.access_token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return response
}
