import { expect } from 'vitest'
import { z } from 'zod'
import { depsFromEnv } from '../../../supabase/functions/_shared/deps.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import { runSettings } from '../../../supabase/functions/_shared/execution/settings.ts'
import type { ListedTools } from '../../../supabase/functions/_shared/mcp/client.ts'
import { objectStoreFromEnv } from '../../../supabase/functions/_shared/object-store.ts'
import { providersFromEnv } from '../../../supabase/functions/_shared/providers/index.ts'
import { searchProviders } from '../../../supabase/functions/_shared/search.ts'
import { secretBoxFromEnv } from '../../../supabase/functions/_shared/secrets.ts'
import { toolKitFromEnv } from '../../../supabase/functions/_shared/tools/kit.ts'
import { createApp } from '../../../supabase/functions/api/app.ts'
import type { ApiDeps, AskedMcpServer } from '../../../supabase/functions/api/env.ts'
import { ROUTES } from '../../../supabase/functions/api/openapi-routes.ts'
import type { TestStack } from '../../support/stack.ts'
import type { FunctionsCaller, Json } from './http.ts'

/** What stands in for the world outside in tests of the function `api`. */
export type OutsideWorld = {
  /** What MCP servers answer when they are asked for their tools; absent: they cannot be reached. */
  mcp: ((server: AskedMcpServer) => ListedTools) | undefined
  /** Everything that MCP servers were asked with. */
  asked: AskedMcpServer[]
  egress: ApiDeps['egress']
  /** Log lines, as JSON. */
  logged: string[]
}

/** What is different about the function in this process; the ledger by its single calls. */
export type ApiChanges = { ledger?: Partial<ApiDeps['ledger']>; runs?: Partial<ApiDeps['runs']> }

/** The function `api` in this process, over a stack, with a world outside that the test makes up. */
export type ApiApp = OutsideWorld & {
  /** The same caller as for the deployed function, sending to this app. */
  as: (caller: FunctionsCaller, more?: Record<string, string>) => FunctionsCaller
  deps: ApiDeps
}

const routes = ROUTES.map((route) => ({
  ...route,
  pattern: new RegExp(`^/api${route.path.replace(/\{[a-z_]+\}/g, '[^/]+')}$`),
}))

/** Asserts that an answer is what the OpenAPI document says, where it is one of success. */
function expectDocumented(method: string, path: string, status: number, answer: unknown): void {
  const { pathname } = new URL(path, 'http://api.test')
  const route = routes.find((one) => one.method === method.toLowerCase() && one.pattern.test(pathname))
  expect(route, `${method} ${pathname} is documented`).toBeDefined()
  if (route?.status !== status || !(route.answer instanceof z.ZodType)) return
  const checked = route.answer.safeParse(answer)
  expect(checked.error?.issues, `${method} ${pathname} answers what is documented`).toBeUndefined()
}

export function startApi(stack: TestStack, changes: ApiChanges = {}): ApiApp {
  const { env } = stack.stack
  const providers = providersFromEnv(env)
  const world: OutsideWorld = { mcp: undefined, asked: [], egress: null, logged: [] }
  const line = (event: string, fields: object) => void world.logged.push(JSON.stringify({ event, ...fields }))
  const own = depsFromEnv(env, 'api')
  const ledger = { ...own.ledger, ...changes.ledger }
  const log = { info: line, error: line }
  const deps = {
    ...own,
    ledger,
    log,
    chat: providers.chat,
    search: searchProviders(providers, { ledger, log }),
    objects: objectStoreFromEnv(env),
    tools: toolKitFromEnv(env),
    runs: { ...runSettings(env, 'function:test'), ...changes.runs },
    secrets: secretBoxFromEnv(env),
    mcp: {
      discover: (server: AskedMcpServer) => {
        world.asked.push(server)
        if (world.mcp) return Promise.resolve(world.mcp(server))
        return Promise.reject(new AppError('upstream_failed', 'The MCP server is not there.'))
      },
    },
    get egress() {
      return world.egress
    },
  }
  const app = createApp(deps)
  const as: ApiApp['as'] = ({ headers: own }, added = {}) => {
    const headers = { ...own, ...added }
    const send: FunctionsCaller['send'] = async (method, path, { json, body, headers: more } = {}) => {
      const text = json === undefined ? body : JSON.stringify(json)
      return app.request(path, {
        method,
        headers: { ...headers, ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...more },
        ...(text === undefined ? {} : { body: text }),
      })
    }
    return {
      headers,
      send,
      async json(status, method, path, sent) {
        const response = await send(method, path, sent)
        const text = await response.text()
        expect(response.status, `${method} ${path}: ${text.slice(0, 500)}`).toBe(status)
        const answer: Json = JSON.parse(text === '' ? '{}' : text)
        expectDocumented(method, path, status, answer)
        return answer
      },
    }
  }
  return Object.assign(world, { as, deps })
}

/** An answer without what differs each time. */
export const withoutIds = ({ request_id: _id, ...rest }: Json): Json => rest
