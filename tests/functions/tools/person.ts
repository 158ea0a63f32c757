import { createClientFactory } from '../../../supabase/functions/_shared/context.ts'
import type { ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'
import type { TestStack } from '../../support/stack.ts'
import { tokenOf } from '../support/http.ts'
import { callContext } from './custom-support.ts'

/** What a call is made with in a run of this person: a client that carries their token, as the functions make it. */
export async function contextOf(
  stack: TestStack,
  email: string,
  tenantId: string,
): Promise<ToolCallContext & { logged: string[] }> {
  const client = await stack.signIn(email)
  const { data } = await client.auth.getUser()
  if (!data.user) throw new Error(`${email} is nobody.`)
  const context = callContext(data.user.id, await tokenOf(client), { tenantId })
  const { actingCaller: caller } = context.principal
  const clientFor = createClientFactory(stack.url, stack.keys.publishable)
  const db = async () => clientFor(await caller())
  return { ...context, principal: { ...context.principal, caller, db, actingDb: db } }
}
