import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { STEP_SEPARATOR } from '../../../supabase/functions/_shared/agent/step-output.ts'
import type { ChatMessage } from '../../../supabase/functions/_shared/providers/index.ts'
import { createRandom, cut } from '../support/random.ts'
import type { Event } from './support/loop-fakes.ts'
import { drive, livingModel, livingTool, timeless, undisturbed } from './support/resumed-runs.ts'
import {
  assertWellFormed,
  call,
  fakeTool,
  only,
  runScript,
  say,
  scriptedModel,
  shownText,
} from './support/loop-fakes.ts'

/** A message of a recorded conversation, in the format of the OpenAI API. */
type Recorded = {
  role: 'system' | 'user' | 'assistant' | 'tool'
  content: string | null
  tool_calls?: { id: string; function: { name: string; arguments: string } }[]
  tool_call_id?: string
  name?: string
}
type Conversation = { task_id: number; messages: Recorded[] }

const parse = (text: string): Conversation[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Conversation)

const own = parse(readFileSync(new URL('../../fixtures/agent/tau-airline.jsonl', import.meta.url), 'utf8'))
const collection = new URL('../../../../shared/data/agent/tau_airline_gpt4o_trial0.jsonl.gz', import.meta.url)
const all = existsSync(collection) ? parse(gunzipSync(readFileSync(collection)).toString('utf8')) : null

/** What the person says, and all that follows until they speak again. */
type RecordedTurn = { question: string; answers: Recorded[] }

function turnsOf(messages: readonly Recorded[]): RecordedTurn[] {
  const turns: RecordedTurn[] = []
  for (const message of messages) {
    if (message.role === 'user') turns.push({ question: message.content ?? '', answers: [] })
    else if (message.role !== 'system') turns.at(-1)?.answers.push(message)
  }
  // The last thing a person says may be the end of the conversation.
  return turns.filter(({ answers }) => answers.length > 0)
}

const asMessage = (message: Recorded): ChatMessage =>
  message.role === 'tool'
    ? { role: 'tool', toolCallId: message.tool_call_id ?? '', name: message.name ?? '', content: message.content ?? '' }
    : {
        role: 'assistant',
        content: message.content ?? '',
        ...(message.tool_calls === undefined
          ? {}
          : { toolCalls: message.tool_calls.map((one) => ({ id: one.id, ...one.function })) }),
      }

/** Replays one turn; `history` is what a later turn of a session is given: questions and answers, no calls. */
async function replay(system: string, history: readonly ChatMessage[], turn: RecordedTurn) {
  const random = createRandom(turn.question.length)
  const answers = turn.answers.filter(({ role }) => role === 'assistant')
  const results = turn.answers.filter(({ role }) => role === 'tool')
  const wanted = answers.flatMap((answer) => answer.tool_calls ?? [])
  let at = 0
  const made: [string, unknown][] = []
  const tools = [...new Set(wanted.map((one) => one.function.name))].map((name) =>
    fakeTool(
      name,
      async (args) => {
        made.push([name, args])
        return { text: results[at++]?.content ?? '' }
      },
      { effects: /^(?:get|list|search|think|calculate)/.test(name) ? [] : ['writes'] },
    ),
  )
  const model = scriptedModel((_request, step) => {
    // Some conversations end with a call: the model has nothing to add to its result.
    const answer = answers[step]
    return [
      ...cut(answer?.content ?? '', random, 40).map(say),
      ...(answer?.tool_calls ?? []).map((one) => call(one.function.name, one.function.arguments, one.id)),
    ]
  })
  const ran = await runScript(model, tools, {
    request: {
      system,
      messages: [...history, { role: 'user', content: turn.question }],
      context: [],
      citations: false,
    },
  })
  const texts = answers.map((answer) => answer.content ?? '').filter((text) => text !== '')
  return { ...ran, model, made, wanted, text: texts.join(STEP_SEPARATOR) }
}

/** The recorded ids; the model of the recordings used some twice, and the second call has one of its own. */
const idsOf = (wanted: readonly { id: string }[], announced: readonly Event[]): unknown[] =>
  wanted.map(({ id }, at) => {
    const isRepeated = wanted.slice(0, at).some((earlier) => earlier.id === id)
    return isRepeated ? (announced[at]?.['call_id'] === id ? 'another id' : announced[at]?.['call_id']) : id
  })

/** Messages with the calls numbered: results belong to calls by their order. */
const withoutIds = (messages: readonly ChatMessage[]): ChatMessage[] => {
  let calls = 0
  let results = 0
  return messages.map((message) => {
    if (message.role === 'tool') return { ...message, toolCallId: String(results++) }
    if (message.role === 'user' || message.toolCalls === undefined) return message
    return { ...message, toolCalls: message.toolCalls.map((one) => ({ ...one, id: String(calls++) })) }
  })
}

async function replayConversation({ messages }: Conversation): Promise<number> {
  const system = messages.find(({ role }) => role === 'system')?.content ?? ''
  const history: ChatMessage[] = []
  let calls = 0
  for (const turn of turnsOf(messages)) {
    const { result, events, model, made, wanted, text } = await replay(system, history, turn)
    expect(result).toMatchObject({ status: 'completed', error: null, content: text })
    expect(made).toEqual(wanted.map((one) => [one.function.name, JSON.parse(one.function.arguments)]))
    const announced = only(events, 'tool_call')
    expect(announced.map((event) => [event['tool_name'], event['arguments']])).toEqual(made)
    expect(announced.map((event) => event['call_id'])).toEqual(idsOf(wanted, announced))
    expect(shownText(events)).toBe(text)
    assertWellFormed(events)
    // The model was asked, step by step, with exactly the messages that were recorded.
    const asked = model.requests.at(-1)?.messages ?? []
    const seen = turn.answers.map(asMessage).slice(0, asked.length - history.length - 1)
    expect(withoutIds(asked)).toEqual(withoutIds([...history, { role: 'user', content: turn.question }, ...seen]))
    expect(seen.filter(({ role }) => role === 'tool')).toHaveLength(wanted.length)
    history.push({ role: 'user', content: turn.question }, { role: 'assistant', content: text })
    calls += wanted.length
  }
  return calls
}

/** Replays one turn with executors that are killed: what a call brings, it brings again when it is repeated. */
async function replayKilled(turn: RecordedTurn, deaths: readonly number[]) {
  const answers = turn.answers.filter(({ role }) => role === 'assistant')
  const results = turn.answers.filter(({ role }) => role === 'tool')
  const wanted = answers.flatMap((answer) => answer.tool_calls ?? [])
  const made = new Map<string, [string, unknown, string]>()
  const ran = await drive({
    deaths,
    equip: (life) => ({
      chat: livingModel(
        scriptedModel(({ messages }) => {
          const answer = answers[messages.filter(({ role }) => role === 'assistant').length]
          return [
            ...(answer?.content ? [say(answer.content)] : []),
            ...(answer?.tool_calls ?? []).map((one) => call(one.function.name, one.function.arguments, one.id)),
          ]
        }),
        life,
      ),
      tools: [...new Set(wanted.map((one) => one.function.name))].map((name) =>
        livingTool(
          fakeTool(name, async (args, { idempotencyKey }) => {
            const text = made.get(idempotencyKey)?.[2] ?? results[made.size]?.content ?? ''
            made.set(idempotencyKey, [name, args, text])
            return { text }
          }),
          life,
        ),
      ),
    }),
  })
  return { ...ran, made: [...made.values()], wanted }
}

describe('recorded conversations', () => {
  it('are at hand: five of them, with calls, and with text beside a call', () => {
    expect(own).toHaveLength(5)
    const messages = own.flatMap((conversation) => conversation.messages)
    expect(messages.filter((message) => message.tool_calls !== undefined).length).toBeGreaterThan(10)
    expect(messages.some((message) => message.tool_calls !== undefined && message.content)).toBe(true)
  })

  it.each(own)('replay turn by turn with the same calls and the same text: task $task_id', async (conversation) => {
    expect(await replayConversation(conversation)).toBe(
      conversation.messages.reduce((sum, message) => sum + (message.tool_calls?.length ?? 0), 0),
    )
  })

  it.each(own)('replay so when executors are killed on the way: task $task_id', async ({ messages }) => {
    for (const turn of turnsOf(messages)) {
      const reference = await replayKilled(turn, [])
      for (let at = 0; at < reference.acts; at += 3) {
        const { result, store, made, wanted } = await replayKilled(turn, [at, at + 2])
        expect(timeless(result)).toEqual(timeless(reference.result))
        expect(undisturbed(store.events)).toEqual(undisturbed(reference.store.events))
        expect(made.map(([name, args]) => [name, args])).toEqual(
          wanted.map((one) => [one.function.name, JSON.parse(one.function.arguments)]),
        )
        assertWellFormed(store.events)
      }
    }
  })

  if (all === null) console.info('Left out: the collection of recorded conversations, which is not at hand.')
  it.skipIf(all === null)('all 50 of the collection replay so', async () => {
    let calls = 0
    for (const conversation of all ?? []) calls += await replayConversation(conversation)
    expect(all).toHaveLength(50)
    expect(calls).toBe(282)
  })
})
