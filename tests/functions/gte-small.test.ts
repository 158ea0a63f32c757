import { afterEach, describe, expect, it } from 'vitest'
import { providersFromEnv } from '../../supabase/functions/_shared/providers/index.ts'

type Globals = { Supabase?: unknown }
afterEach(() => {
  delete (globalThis as Globals).Supabase
})

/** What the Edge Runtime offers; plain Deno and Node have nothing like it. */
function offerRuntime(run: (text: string, options: object) => Promise<ArrayLike<number>>): { models: string[] } {
  const models: string[] = []
  class Session {
    run = run
    constructor(model: string) {
      models.push(model)
    }
  }
  ;(globalThis as Globals).Supabase = { ai: { Session } }
  return { models }
}

describe('gte-small', () => {
  it('is used where the runtime offers it and the environment asks for it', async () => {
    const asked: [string, object][] = []
    const { models } = offerRuntime((text, options) => {
      asked.push([text, options])
      return Promise.resolve(new Float32Array([text.length, 0]))
    })
    const { embedder } = providersFromEnv({ EMBEDDING_MODEL: 'gte-small' })
    expect(embedder).toMatchObject({ model: 'gte-small', dimensions: 384 })
    expect(await embedder.embed(['ab', 'x'.repeat(9000)])).toEqual([
      [2, 0],
      [2000, 0],
    ])
    expect(models).toEqual(['gte-small'])
    expect(asked[0]).toEqual(['ab', { mean_pool: true, normalize: true }])
  })

  it('that fails is an upstream failure', async () => {
    offerRuntime(() => Promise.reject(new Error('wasm trap')))
    const { embedder } = providersFromEnv({ EMBEDDING_MODEL: 'gte-small' })
    await expect(embedder.embed(['x'])).rejects.toMatchObject({ code: 'upstream_failed' })
  })
})
