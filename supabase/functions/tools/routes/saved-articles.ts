import { Hono } from 'hono'
import { z } from 'zod'
import { unwrap } from '../../_shared/errors.ts'
import { parse } from '../../_shared/http.ts'
import type { ToolsEnv } from '../env.ts'
import { receiveCall } from '../tool-call.ts'

/** Name under which the tool is defined in `ai.tools`; its tokens name it too. */
const TOOL = 'search_saved_articles'

const searchRequest = z.object({
  query: z.string().trim().min(1).max(1000),
  limit: z.number().int().min(1).max(20).default(5),
  /** Sent where the tool's schema asks for it. The header says the same and is what counts. */
  session_token: z.string().optional(),
})

type Found = {
  memory_id: string
  body: string
  user_id: string | null
  score: number
  created_at: string
  /** Through whom it was written; null: by the person. */
  act: { sub?: string } | null
}

/** Who wrote an article, for the model: what an agent has put down is no word of the person's. */
const writerOf = ({ act }: Found) => (act === null ? 'person' : act.sub === 'agent' ? 'agent' : 'backend')

/** Most rows that one search gives. */
const MAX_FOUND = 100

/** Searches what the person has saved: their memories, and not those that the whole tenant shares. */
export const savedArticles = new Hono<ToolsEnv>().post('/', async (c) => {
  const call = await receiveCall(c, TOOL)
  const { query, limit } = parse(searchRequest, call.body)
  const found: Found[] = unwrap(
    await call.db.schema('ai').rpc('search_memories', { query, method: 'full_text', match_count: MAX_FOUND }),
  )
  const results = found
    // Row-level security has left what the person may read; this leaves what is theirs.
    .filter((article) => article.user_id === call.userId)
    .slice(0, limit)
    .map((article) => ({
      id: article.memory_id,
      text: article.body,
      written_by: writerOf(article),
      score: article.score,
      saved_at: article.created_at,
    }))
  return c.json({ results, request_id: c.var.requestId })
})
