import type { Hono } from 'hono'
import { identify } from '../_shared/context.ts'
import { createRouter } from '../_shared/http.ts'
import type { ChatDeps, ChatEnv } from './env.ts'
import { sessions } from './routes/sessions.ts'
import { turns } from './routes/turns.ts'

/** The function `chat`: who is asking, which agent, which context; streams the answer and stores it. */
export function createApp(deps: ChatDeps): Hono<ChatEnv> {
  const app = createRouter<ChatDeps>('/chat', deps)
  app.use(identify)
  app.route('/sessions', sessions)
  app.route('/', turns)
  return app
}
