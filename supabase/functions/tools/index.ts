import process from 'node:process'
import { createApp } from './app.ts'
import { depsFromEnv } from '../_shared/deps.ts'
import { projectSettings } from '../_shared/env.ts'
import { createToolTokenVerifier } from '../_shared/tool-tokens.ts'

const deps = depsFromEnv(process.env, 'tools')
const settings = projectSettings(process.env)
// Tools of the project are called by the address its tokens come from, or by the one functions know.
const audiences = [...settings.issuers, settings.supabaseUrl].map((url) => new URL(url).origin)
deps.log.info('started', {})

const app = createApp({
  ...deps,
  verifyToolToken: createToolTokenVerifier({ ...settings, audiences }),
  burnToolCallToken: (jti, expiresAt) => deps.ledger.burnToolCallToken(jti, expiresAt),
})

export default { fetch: app.fetch }
