import { afterAll, beforeAll } from 'vitest'
import { startScriptedModel, type ScriptedModel } from './server.ts'

/**
 * A scripted model for the tests of one file, or of one `describe`; to be called before its stack.
 * @param userEnv the stack's: gets what makes functions and worker use the model
 */
export function useModel(userEnv: Record<string, string>): ScriptedModel {
  let running: ScriptedModel | undefined
  beforeAll(async () => {
    running = await startScriptedModel()
    Object.assign(userEnv, running.env)
  })
  afterAll(() => running?.stop())
  const started = () => {
    if (!running) throw new Error('The model runs inside of tests and hooks only.')
    return running
  }
  return {
    get url() {
      return started().url
    },
    get env() {
      return started().env
    },
    get requests() {
      return started().requests
    },
    chats: () => started().chats(),
    play: (player, model) => started().play(player, model),
    stop: () => started().stop(),
  }
}
