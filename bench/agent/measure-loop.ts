import { createAnswerFilter } from '../../supabase/functions/_shared/answer-filter.ts'
import { runLoop } from '../../supabase/functions/_shared/agent/loop.ts'
import type { ChatEvent, ChatProvider } from '../../supabase/functions/_shared/providers/index.ts'
import { createOpenAiChat } from '../../supabase/functions/_shared/providers/openai.ts'
import { formatSse, numbered } from '../../supabase/functions/_shared/sse.ts'
import type { Principal, Tool } from '../../supabase/functions/_shared/tools/types.ts'
import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { type LoopResult, pairOf, spreadOf } from './results.ts'
import { answerPieces, play } from './script.ts'
import { delaysBetween, Timeline } from './timeline.ts'

const RUNS = 100
const WARM_UP_RUNS = 8
const DELTAS = 400

const REQUEST = {
  system: 'Answer from what you know, in sentences.',
  messages: [{ role: 'user' as const, content: 'What does the harbor inspection record after the storm?' }],
  context: [],
  citations: false,
}

const unused = () => Promise.reject(new Error('The model of this measurement calls no tool.'))
const principal: Principal = {
  tenantId: 'tenant',
  userId: 'user',
  agentId: 'agent',
  runId: 'run_000000000000',
  runUuid: '00000000-0000-4000-8000-0000000000f1',
  caller: unused,
  actingCaller: unused,
  db: unused,
  actingDb: unused,
}
const TOOL: Tool = {
  name: 'look_up',
  description: 'Looks a word up.',
  inputSchema: { type: 'object', properties: { word: { type: 'string' } }, required: ['word'] },
  kind: 'builtin',
  isConcurrencySafe: true,
  effects: [],
  maxResultChars: null,
  execute: unused,
}

/** One answer: when it was asked for, and when its text came. */
type Run = { startedAt: number; text: Timeline }

/** The provider, with note of when its text comes. */
function noticing(chat: ChatProvider, text: Timeline): ChatProvider {
  async function* stream(...args: Parameters<ChatProvider['stream']>): AsyncGenerator<ChatEvent> {
    for await (const event of chat.stream(...args)) {
      if (event.type === 'delta') text.add(event.text, performance.now())
      yield event
    }
  }
  return { ...chat, stream }
}

async function readBare(chat: ChatProvider): Promise<Run> {
  const { name, description, inputSchema } = TOOL
  const text = new Timeline()
  const startedAt = performance.now()
  const request = { ...REQUEST, tools: [{ name, description, inputSchema }] }
  for await (const event of chat.stream(request, new AbortController().signal)) {
    if (event.type === 'delta') text.add(event.text, performance.now())
  }
  return { startedAt, text }
}

async function readThroughLoop(chat: ChatProvider): Promise<Run & { provided: Timeline }> {
  const text = new Timeline()
  const provided = new Timeline()
  const startedAt = performance.now()
  // An event counts as gone out when it is the line that goes over the wire.
  const emit = numbered((event) => {
    formatSse(event)
    if (event['event'] === 'content_delta') text.add(String(event['delta']), performance.now())
  })
  const knownTexts = [REQUEST.system, ...REQUEST.messages.map(({ content }) => content)]
  const { status, error } = await runLoop({
    chat: noticing(chat, provided),
    request: REQUEST,
    tools: [TOOL],
    gates: {},
    call: { principal, signal: new AbortController().signal, log: { info: () => {}, error: () => {} } },
    emit,
    textFilter: () => createAnswerFilter({ keys: null, knownTexts }),
    reasoningFilter: () => createAnswerFilter({ keys: null, knownTexts }),
    maxSteps: 25,
  })
  if (status !== 'completed') throw new Error(`The loop did not complete: ${error}`)
  return { startedAt, text, provided }
}

/** Asks for the same stream with and without the loop around it, in turns, in this process. */
export async function measureLoop(model: ScriptedModel): Promise<LoopResult> {
  model.play(play(answerPieces(DELTAS)))
  const chat = createOpenAiChat(model.env)
  const bare: Run[] = []
  const looped: Run[] = []
  const delays: number[] = []
  let held = 0
  for (let run = -WARM_UP_RUNS; run < RUNS; run++) {
    // Whoever comes second finds the other's garbage: so the order changes.
    const early = run % 2 === 0 ? await readThroughLoop(chat) : null
    const alone = await readBare(chat)
    const ours = early ?? (await readThroughLoop(chat))
    if (run < 0) continue
    bare.push(alone)
    looped.push(ours)
    const between = delaysBetween(ours.provided, ours.text)
    delays.push(...between.delays)
    held += between.held
  }
  const first = ({ startedAt, text }: Run) => text.first - startedAt
  const rest = ({ text }: Run) => text.last - text.first
  return {
    deltas: DELTAS,
    first: pairOf(looped.map(first), bare.map(first)),
    event: spreadOf(delays),
    heldShare: held / delays.length,
    rest: pairOf(looped.map(rest), bare.map(rest)),
  }
}
