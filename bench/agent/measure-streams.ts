import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { askAgent, checkAnswer } from './ask.ts'
import { functionPid, processUse } from './process-use.ts'
import { spreadOf, type StreamsResult } from './results.ts'
import { answerPieces, createGate, play } from './script.ts'
import type { World } from './world.ts'

const STREAMS = 100
const DELTAS = 100
/** A pace at which models write. */
const GAP_MS = 40
/** The model begins when all have asked it; if one never does, after this. */
const GATE_LIMIT_MS = 45_000
const SAMPLE_MS = 100

/** Many runs at once, all of them in one process of the function `api`. */
export async function measureStreams(world: World, model: ScriptedModel): Promise<StreamsResult> {
  const pieces = answerPieces(DELTAS)
  const chars = pieces.join('').length
  const gate = createGate(STREAMS, GATE_LIMIT_MS)
  model.play(play(pieces, GAP_MS, gate.pass))
  const pid = functionPid(world.pid, 'api')
  const use = () => (pid === null ? null : processUse(pid))
  const before = use()
  let peak = before?.rssMegabytes ?? 0
  const sampler = setInterval(() => (peak = Math.max(peak, use()?.rssMegabytes ?? 0)), SAMPLE_MS)
  const startedAt = performance.now()
  const first: number[] = []
  const ask = async () => {
    const answer = await askAgent(world)
    checkAnswer(answer, chars)
    first.push(answer.text.first - answer.startedAt)
  }
  const settled = await Promise.allSettled(Array.from({ length: STREAMS }, ask))
  clearInterval(sampler)
  const wallMs = performance.now() - startedAt
  const after = use()
  const failures = settled.filter((one) => one.status === 'rejected')
  if (first.length === 0) throw new Error('No stream finished.', { cause: failures[0]?.reason })
  for (const { reason } of failures.slice(0, 3)) console.error(`a stream failed: ${(reason as Error).message}`)
  return {
    streams: STREAMS,
    deltas: DELTAS,
    finished: STREAMS - failures.length,
    atOnce: gate.mostAtOnce(),
    wallMs,
    first: spreadOf(first),
    memory: before && after ? { before: before.rssMegabytes, peak, after: after.rssMegabytes } : null,
    cpuMs: before && after ? after.cpuMs - before.cpuMs : null,
  }
}
