import type { IndexingClaim, Ledger } from '../../ledger.ts'
import { held } from '../lease.ts'
import type { KeptAnswers } from './strategy.ts'

/** No model's: what is staged with it is no chunk, and has no vector worth the name. */
const NO_MODEL = 'none'

/**
 * Answers about parts of a document, kept among its staged chunks.
 * @param chunkCount chunks that the document will have at most. Answers are behind them: whatever is staged from the chunk
 * count on is deleted when indexing is finished, so they never become searchable.
 */
export async function keptAnswers(ledger: Ledger, claim: IndexingClaim, chunkCount: number): Promise<KeptAnswers> {
  const { indexed_source_id: id, lease_token: token } = claim
  const staged = await ledger.readStagedMeta(id, token, chunkCount)
  const known = new Map<string, Record<string, unknown>>()
  for (const { content_hash: hash, meta } of staged) {
    const { answer } = meta
    if (typeof answer === 'object' && answer !== null) known.set(hash, answer as Record<string, unknown>)
  }
  return {
    known,
    async keep(index, hash, answer) {
      const row = {
        chunk_index: chunkCount + index,
        content_hash: hash,
        meta: { answer },
        text: '',
        context: '',
        start_char: 0,
        end_char: 0,
        tokens: 0,
        score: 0,
        embedding: [0],
      }
      held(await ledger.stageChunks(id, token, [row], NO_MODEL))
    },
  }
}
