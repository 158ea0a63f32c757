import { enrichSources, EnrichmentLostError } from '../../../supabase/functions/_shared/enrichment/carry-out.ts'
import { toAppError } from '../../../supabase/functions/_shared/errors.ts'
import { promptOf } from '../../support/scripted-model/index.ts'
import type { Player } from '../../support/scripted-model/index.ts'
import type { TestStack } from '../../support/stack.ts'
import type { ApiApp } from './api-app.ts'

/** Answers with what stands under the first of these words that the prompt contains. */
export const answering =
  (answers: Record<string, unknown>): Player =>
  (input) => {
    const prompt = promptOf(input)
    const [, answer] = Object.entries(answers).find(([word]) => prompt.includes(word)) ?? []
    return { text: typeof answer === 'string' ? answer : JSON.stringify(answer ?? {}) }
  }

/**
 * Does what the worker's job does with the enrichment of a knowledge base, once and in this process.
 * @returns the code of the error that ended it, or how many sources were asked about.
 */
export async function workOff(stack: TestStack, { deps }: ApiApp, knowledgeBaseId: string): Promise<number | string> {
  const [row] = await stack.db.query<{ id: string }>('select id from ai.enrichments where knowledge_base_id = $1', [
    knowledgeBaseId,
  ])
  const claim = await deps.ledger.claimEnrichment(row?.id ?? '', 'test', 60)
  if (claim === null) return 'nothing_to_do'
  try {
    const { asked, isDone } = await enrichSources(deps, claim, { atOnce: 2, most: 100 }, new AbortController().signal)
    if (isDone) await deps.ledger.finishEnrichment(claim)
    return asked
  } catch (error) {
    if (error instanceof EnrichmentLostError) return 'lost'
    const { code, message } = toAppError(error)
    await deps.ledger.failEnrichment(claim, { status: 'failed', errorCode: 'permanent', reasonCode: code, message })
    return code
  }
}
