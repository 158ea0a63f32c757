import { createClient } from '@supabase/supabase-js'
import type { SupabaseClient } from '@supabase/supabase-js'
import { describe, expect, it } from 'vitest'
import { eventually } from '../../support/eventually.ts'
import { script } from '../../support/scripted-model/index.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import type { Json } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const userEnv: Record<string, string> = { ...FLOW_ENV }
const model = useModel(userEnv)
const stack = useFunctionsStack({ userEnv })

/** Joins a private channel as the recipe's client does; gives what arrives, and what became of the join. */
async function listen(supabase: SupabaseClient, topic: string) {
  await supabase.realtime.setAuth()
  const received: Json[] = []
  const states: string[] = []
  supabase
    .channel(topic, { config: { private: true } })
    .on('broadcast', { event: 'chat_event' }, ({ payload }) => void received.push(payload))
    .subscribe((state) => void states.push(state))
  await eventually(() => expect(states.length).toBeGreaterThan(0))
  return { received, states }
}

describe.each(CALLERS)('F12 realtime, %s', (_name, tenantHeaders) => {
  it('a backend stores what the stream says, and the devices of that person hear it, nobody else', async () => {
    const phone = await stack.signIn('member@harbor.example')
    const colleague = await stack.signIn('admin@harbor.example')
    const userId = (await phone.auth.getUser()).data.user!.id
    const own = await listen(phone, `chat:${userId}`)
    expect(own.states).toEqual(['SUBSCRIBED'])
    const foreign = await listen(colleague, `chat:${userId}`)
    expect(foreign.states).toEqual(['CHANNEL_ERROR'])

    // Recipe 4, the backend.
    const H = {
      apikey: stack.keys.secret,
      Authorization: `Bearer ${stack.keys.secret}`,
      'Content-Type': 'application/json',
      ...tenantHeaders,
    }
    const db = createClient(stack.url, stack.keys.secret, {
      auth: { persistSession: false },
      global: { headers: tenantHeaders },
    })
    const { agents } = await (await fetch(`${stack.url}/functions/v1/api/agents`, { headers: H })).json()
    model.play(script([{ text: 'The tide is in.' }]))
    const stream = await fetch(`${stack.url}/functions/v1/api/agents/${agents[0].id}/run/stream`, {
      method: 'POST',
      headers: H,
      body: JSON.stringify({ message: 'When?' }),
    })
    for (const line of (await stream.text()).split('\n')) {
      if (!line.startsWith('data: ')) continue
      const event = JSON.parse(line.slice(6))
      if (event.event !== 'chunk' && event.event !== 'complete') continue
      const { error } = await db.from('chat_messages').insert({ user_id: userId, payload: event })
      expect(error).toBeNull()
    }

    await eventually(() => expect(own.received).toHaveLength(2))
    expect(own.received.map(({ message_id, event }) => [typeof message_id, event.event, event.content])).toEqual([
      ['string', 'chunk', 'The tide is in.'],
      ['string', 'complete', 'The tide is in.'],
    ])
    expect(foreign.received).toEqual([])
    const kept = await phone.from('chat_messages').select('payload').order('created_at', { ascending: false }).limit(2)
    expect(kept.data!.map(({ payload }) => payload.event).toSorted()).toEqual(['chunk', 'complete'])
    await Promise.all([phone.removeAllChannels(), colleague.removeAllChannels()])
  })
})
