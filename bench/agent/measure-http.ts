import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { askAgent, askModel, checkAnswer } from './ask.ts'
import { type HttpResult, pairOf, spreadOf } from './results.ts'
import type { ReadStream } from './read-stream.ts'
import { answerPieces, play } from './script.ts'
import type { World } from './world.ts'

const RUNS = 100
const WARM_UP_RUNS = 5
const DELTAS = 60

/** Asks an agent through the function `api`, and the model's server itself, in turns. */
export async function measureHttp(world: World, model: ScriptedModel): Promise<HttpResult> {
  const pieces = answerPieces(DELTAS)
  const chars = pieces.join('').length
  model.play(play(pieces))
  const bare: number[] = []
  const ours: number[] = []
  const started: number[] = []
  const first = ({ startedAt, text }: ReadStream) => text.first - startedAt
  for (let run = -WARM_UP_RUNS; run < RUNS; run++) {
    const direct = await askModel(model)
    const answered = await askAgent(world)
    checkAnswer(answered, chars)
    if (run < 0) continue
    bare.push(first(direct))
    ours.push(first(answered))
    started.push((answered.firstOf.get('start') ?? NaN) - answered.startedAt)
  }
  return { first: pairOf(ours, bare), started: spreadOf(started) }
}
