import type { CallDecision } from '../../../../supabase/functions/_shared/agent/journal.ts'
import type { LoopOutcome } from '../../../../supabase/functions/_shared/agent/loop.ts'
import type { LoopSetup } from '../../../../supabase/functions/_shared/agent/options.ts'
import type { ChatProvider } from '../../../../supabase/functions/_shared/providers/index.ts'
import { storable } from '../../../../supabase/functions/_shared/storable.ts'
import type { Tool } from '../../../../supabase/functions/_shared/tools/types.ts'
import type { JournalStore, Life } from './journal-store.ts'
import { createJournalStore, createLife } from './journal-store.ts'
import type { Event } from './loop-fakes.ts'
import { runScript } from './loop-fakes.ts'

/** A run and the executors that try to finish it. */
export type Drive = {
  /** What one executor has; it may act only while it lives. */
  equip: (life: Life) => Partial<LoopSetup> & { chat: ChatProvider; tools: readonly Tool[]; signal?: AbortSignal }
  /** After how many acts the executors are killed, one after the other; those after the last live on. */
  deaths?: readonly number[]
  /** What a person says about an interrupted call. */
  decide?: (callId: string) => CallDecision
  /** Called when the run waits for something else. */
  onWaiting?: (result: LoopOutcome) => void
  holdsBack?: () => boolean
  /** Executors lose their lease instead of their lives. */
  losesLease?: boolean
  /** Executors that may be needed. */
  limit?: number
}

export type Driven = {
  result: LoopOutcome
  store: JournalStore
  /** Interrupted calls that were decided about, in order. */
  decided: string[]
  /** Acts of the last executor. */
  acts: number
  executors: number
}

/** Lets executors work on a run until it is over. */
export async function drive(setup: Drive): Promise<Driven> {
  const store = createJournalStore()
  const decided: string[] = []
  const limit = setup.limit ?? 50
  for (let executor = 0; executor < limit; executor++) {
    const life = createLife(setup.deaths?.[executor])
    const writer = store.writer(life, setup.holdsBack, setup.losesLease)
    const { chat, tools, ...rest } = setup.equip(life)
    const { emit, journal } = writer
    const work = runScript(chat, tools, { untrusted: 'allow', ...rest, emit, journal, resume: store.resume() })
    const ran = await Promise.race([work, life.died])
    if (ran === 'died') {
      if (setup.losesLease) await work
      continue
    }
    writer.flush()
    if (writer.isLost()) continue
    const { result } = ran
    if (result.status !== 'suspended') {
      return { result, store, decided, acts: life.acts(), executors: executor + 1 }
    }
    const { reason, callId } = result.waiting ?? {}
    if (reason === 'unsafe_call' && callId) {
      decided.push(callId)
      store.decide(callId, (setup.decide ?? (() => 'retry'))(callId))
    } else setup.onWaiting?.(result)
  }
  throw new Error(`The run was not over after ${limit} executors.`)
}

/** The text that a reader has who goes by the offsets of `step_reset` alone. */
export function textByOffsets(events: readonly Event[]): string {
  let text = ''
  for (const { event, ...fields } of events) {
    if (event === 'content_delta') text += String(fields['delta'])
    if (event === 'step_reset') {
      const off = Number(fields['off'])
      if (!(off >= 0 && off <= text.length)) throw new Error(`The offset ${off} is outside of the text.`)
      text = text.slice(0, off)
    }
  }
  return text
}

/** The events as they would be had nothing been interrupted: without times, and results of one step in a fixed order. */
export function undisturbed(events: readonly Event[]): Event[] {
  const kept: Event[] = []
  for (const { duration_ms: _duration, ...event } of events as (Event & { duration_ms?: number })[]) {
    if (event.event === 'call_interrupted') continue
    if (event.event === 'step_reset' && event['reason'] === 'interrupted') {
      const start = kept.findLastIndex((earlier) => earlier.event === 'step_started')
      if (kept[start]?.['step'] !== event['step']) throw new Error('A step was reset that had not begun.')
      kept.splice(start + 1)
      continue
    }
    kept.push(event)
  }
  const isTraffic = ({ event }: Event) => event === 'tool_call' || event === 'tool_result'
  const key = (event: Event) => `${event['step']} ${event['call_id']} ${event.event}`
  const traffic = kept.filter(isTraffic).sort((a, b) => key(a).localeCompare(key(b)))
  return [...kept.filter((event) => !isTraffic(event)), ...traffic]
}

/** A result as it is stored, without times. */
export function timeless({ steps, toolCalls, reasoning, ...result }: LoopOutcome) {
  return storable({
    ...result,
    reasoning: reasoning.map(({ duration_ms: _duration, ...thoughts }) => thoughts),
    steps: steps.map(({ duration_ms: _duration, ...step }) => step),
    toolCalls: toolCalls
      .map(({ duration_ms: _duration, ...call }) => call)
      .sort((a, b) => a.step - b.step || a.call_id.localeCompare(b.call_id)),
  })
}

/** The model, for as long as its executor lives. */
export const livingModel = (model: ChatProvider, life: Life): ChatProvider => ({
  ...model,
  async *stream(request, signal) {
    for await (const event of model.stream(request, signal)) {
      await life.live()
      yield event
    }
  },
})

/** The tool, which an executor may begin and not see the end of. */
export const livingTool = (tool: Tool, life: Life): Tool => ({
  ...tool,
  async execute(args, context) {
    await life.live()
    const result = await tool.execute(args, context)
    await life.live()
    return result
  },
})
