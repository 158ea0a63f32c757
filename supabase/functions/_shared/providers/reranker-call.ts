import { cutText } from '../cut-text.ts'
import { AppError } from '../errors.ts'
import { withTimeout } from '../fetch.ts'
import type { Ranking } from './reranker.ts'
import { isCount } from './usage.ts'

/** What the rerankers share: one bounded request, and answers that are not believed unseen. */

/** Characters of a document that are scored; rerankers cut at a few thousand tokens themselves. */
const MAX_DOCUMENT_CHARS = 8_000
/** Characters of an answer that are read: scores of a hundred documents need a few thousand. */
const MAX_ANSWER_CHARS = 1_000_000

/**
 * Tokens of a request as a reranker's answer counts them, its own words included; null where it does not. Units that are
 * not tokens, as some bill by, are no count.
 */
export function countedTokens(answer: unknown): number | null {
  const { usage, meta } = Object(answer) as { usage?: unknown; meta?: unknown }
  const { total_tokens: total, prompt_tokens: prompt } = Object(usage) as Record<string, unknown>
  const { billed_units: billed, tokens } = Object(meta) as { billed_units?: unknown; tokens?: unknown }
  const { input_tokens: billedTokens } = Object(billed) as Record<string, unknown>
  const { input_tokens: inputTokens } = Object(tokens) as Record<string, unknown>
  return [total, prompt, billedTokens, inputTokens].find(isCount) ?? null
}

/** A document as it is sent: cut, but never inside a character. */
export const shortened = (document: string): string => cutText(document, MAX_DOCUMENT_CHARS)

/** Where and how a reranker is called. */
export type RerankCall = { url: string; apiKey: string | null; timeoutMs: number }

/**
 * Posts JSON to a reranker and gives its JSON. Texts of the answer never become part of an error: they may quote keys and
 * documents.
 * @throws AppError as `Reranker.rerank` does; the reason of `signal` when that ends the call.
 */
export async function postJson(
  { url, apiKey, timeoutMs }: RerankCall,
  body: object,
  signal?: AbortSignal,
): Promise<unknown> {
  const bounded = withTimeout(signal, timeoutMs)
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json',
        ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify(body),
      // A key must not follow a redirect to another host.
      redirect: 'error',
      signal: bounded,
    })
    if (!response.ok) {
      await response.body?.cancel()
      const code = response.status === 429 ? 'rate_limited' : 'upstream_failed'
      throw new AppError(code, `The reranker refused the request (HTTP ${response.status}).`)
    }
    return JSON.parse(await readText(response))
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof AppError) throw error
    if (bounded.aborted)
      throw new AppError('upstream_timeout', 'The reranker did not answer in time.', { cause: error })
    throw new AppError('upstream_failed', 'The reranker cannot be reached or answered nonsense.', { cause: error })
  }
}

/** The text of an answer, of which no more is read than a sensible one has. */
async function readText(response: Response): Promise<string> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (reader) {
    const { done, value } = await reader.read()
    if (done) break
    text += value
    if (text.length > MAX_ANSWER_CHARS) {
      await reader.cancel()
      throw new AppError('upstream_failed', 'The reranker answered too much.')
    }
  }
  return text
}

/**
 * Rankings as an endpoint gave them, checked: every entry names another document that exists and has a finite score.
 * @throws AppError `upstream_failed`.
 */
export function checkedRankings(entries: readonly Ranking[], documentCount: number): Ranking[] {
  const isSound =
    entries.length > 0 &&
    new Set(entries.map((entry) => entry.index)).size === entries.length &&
    entries.every(
      ({ index, score }) => Number.isInteger(index) && index >= 0 && index < documentCount && Number.isFinite(score),
    )
  if (!isSound) throw new AppError('upstream_failed', 'The reranker answered scores that cannot be used.')
  return entries.toSorted((a, b) => b.score - a.score || a.index - b.index)
}
