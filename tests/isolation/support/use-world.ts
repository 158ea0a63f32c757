import { afterAll, beforeAll } from 'vitest'
import { openWorld, type World } from './world.ts'

/** A world for the tests of one file, with what `prepare` puts into it. */
export function useWorld(prepare: (world: World) => Promise<void> = async () => {}): World {
  let opened: Awaited<ReturnType<typeof openWorld>> | undefined
  const world = () => {
    if (!opened) throw new Error('The world exists in tests and hooks only.')
    return opened
  }
  beforeAll(async () => {
    opened = await openWorld()
    await prepare(opened)
  })
  afterAll(async () => {
    await opened?.close()
  })
  return {
    get kind() {
      return world().kind
    },
    run: (text, params) => world().run(text, params),
    exec: (sql) => world().exec(sql),
    as: (person, fn, headers) => world().as(person, fn, headers),
    watch: (person, fn) => world().watch(person, fn),
    other: () => world().other(),
  }
}
