import { cutText } from '../cut-text.ts'
import type { ChatEvent, ChatMessage, ChatProvider, ChatRequest, ContextItem, ToolCall } from './index.ts'
import { parseContext } from './prompt.ts'
import { stem, terms } from './text.ts'
import { estimateUsage } from './usage.ts'

/** Name stored with answers of the offline answerer. */
export const OFFLINE_CHAT_MODEL = 'bulkhead-extractive'
/** Whether a language model is set up: the offline answerer quotes sentences and can do no more. */
export const hasLanguageModel = (chat: Pick<ChatProvider, 'model'>): boolean => chat.model !== OFFLINE_CHAT_MODEL
/** What it answers when the context does not. */
export const NOTHING_FOUND = 'I found nothing about this in your documents.'

/** Share of the question's weight that an item must cover to count as being about it. */
const MIN_ITEM_COVERAGE = 0.5
/** Shares of the question's weight that a quoted sentence must cover: itself, and with what it leans on. */
const MIN_OWN_COVERAGE = 0.15
const MIN_LEANING_COVERAGE = 0.35
/** How much the sentence before and the heading count: "It closes at nine." leans on them. */
const NEIGHBOUR_SHARE = 0.5
/** A further sentence is quoted only when it is nearly as good as the best. */
const MIN_SHARE_OF_BEST = 0.7
const MAX_QUOTES = 3
const MAX_QUOTE_CHARS = 400
/** It reads a prompt of any length; this only keeps callers from gathering more than is of use. */
const CONTEXT_WINDOW = 128_000

type Sentence = { item: ContextItem; text: string; terms: Set<string>; order: number }

const contentTerms = (text: string): Set<string> =>
  new Set(
    terms(text)
      .filter((term) => !term.isStopWord)
      .map((term) => (term.isUnspaced ? term.text : stem(term.text))),
  )

const segmenter = new Intl.Segmenter('en', { granularity: 'sentence' })

/** Sentences of a passage, with Markdown marks and numbers in brackets (which would read as citations) taken off. */
function sentencesOf(item: ContextItem, from: number): Sentence[] {
  const result: Sentence[] = []
  // A blank line, a heading or a list mark ends a sentence; a plain line break is only layout.
  for (const block of item.text.split(/\n\s*\n|\n(?=\s*(?:[-*+•#|]|\d+[.)]\s))/)) {
    const heading = /^\s*#{1,6}\s/.test(block)
    const flat = block
      .replace(/^[\s#>*+|•-]+/, '')
      .replace(/\s+/g, ' ')
      .trim()
    if (flat === '' || heading) continue
    for (const { segment } of segmenter.segment(flat)) {
      const text = segment.trim().replace(/\[(\d[\d,;\s–-]*)\]/g, '($1)')
      if (text.length < 3) continue
      result.push({ item, text, terms: contentTerms(text), order: from + result.length })
    }
  }
  return result
}

function quoteOf(text: string): string {
  const plain = text.replace(/[`*_]{2,}/g, '').replace(/[“”]/g, '"')
  if (plain.length <= MAX_QUOTE_CHARS) return plain
  const cut = plain.slice(0, MAX_QUOTE_CHARS)
  return `${cutText(cut, Math.max(cut.lastIndexOf(' '), MAX_QUOTE_CHARS - 40))}…`
}

/** The best sentences for a question, best first; empty when no item is about it. */
function bestSentences(question: string, context: readonly ContextItem[]): Sentence[] {
  const asked = contentTerms(question)
  if (asked.size === 0) return []
  const sentences: Sentence[] = []
  for (const item of context) sentences.push(...sentencesOf(item, sentences.length))
  // Weights by rarity in this context; a word found nowhere weighs most, so that missing it counts.
  const weights = new Map<string, number>()
  for (const term of asked) {
    const count = sentences.filter((sentence) => sentence.terms.has(term)).length
    weights.set(term, Math.log(1 + (sentences.length + 1) / (count + 0.5)))
  }
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0)
  const coverage = (found: ReadonlySet<string>) => {
    let sum = 0
    for (const [term, weight] of weights) if (found.has(term)) sum += weight
    return sum / total
  }
  const headings = new Map(context.map((item) => [item, contentTerms(headingOf(item))]))
  const isAbout = new Map(
    context.map((item) => {
      const all = contentTerms(item.text)
      for (const term of headings.get(item) ?? []) all.add(term)
      return [item, coverage(all) >= MIN_ITEM_COVERAGE]
    }),
  )
  const scored = sentences
    .filter((sentence) => isAbout.get(sentence.item))
    .map((sentence) => {
      const own = coverage(sentence.terms)
      const before = sentences[sentence.order - 1]
      const around = new Set([
        ...sentence.terms,
        ...(before?.item === sentence.item ? before.terms : []),
        ...(headings.get(sentence.item) ?? []),
      ])
      return { sentence, own, leaning: own + NEIGHBOUR_SHARE * (coverage(around) - own) }
    })
    .filter(({ own, leaning }) => own >= MIN_OWN_COVERAGE && leaning >= MIN_LEANING_COVERAGE)
    // Of two that cover the same, the one with less beside it answers more directly.
    .map(({ sentence, leaning }) => ({ sentence, score: leaning - Math.min(sentence.terms.size, 60) / 600 }))
    .sort((a, b) => b.score - a.score || a.sentence.order - b.sentence.order)
  const chosen: Sentence[] = []
  const seen = new Set<string>()
  for (const { sentence, score } of scored) {
    if (chosen.length === MAX_QUOTES || score < (scored[0]?.score ?? 0) * MIN_SHARE_OF_BEST) break
    // Overlapping chunks hold the same sentence twice.
    const same = [...sentence.terms].sort().join(' ')
    if (seen.has(same)) continue
    seen.add(same)
    chosen.push(sentence)
  }
  return chosen
}

/** What stands above a passage: the name of its document and its headings. */
function headingOf(item: ContextItem): string {
  const path = item.meta['heading_path']
  return [item.sourceName ?? '', ...(Array.isArray(path) ? path : [])].join(' ')
}

/** The last user message and what followed it. */
function currentTurn(messages: readonly ChatMessage[]): { question: string; later: readonly ChatMessage[] } {
  const asked = messages.findLastIndex((message) => message.role === 'user')
  return { question: messages[asked]?.content ?? '', later: messages.slice(asked + 1) }
}

/** The one tool it knows how to use, and the longest question it asks it. */
const SEARCH_TOOL = 'knowledge_search'
const MAX_QUERY_CHARS = 4000

/** A search for the question, when the tool is offered and nothing was called for this question yet. */
function searchCall({ messages, tools = [] }: Pick<ChatRequest, 'messages' | 'tools'>): ToolCall | null {
  const { question, later } = currentTurn(messages)
  const query = cutText(question.trim(), MAX_QUERY_CHARS)
  const wasCalled = later.some(
    (message) => message.role === 'tool' || (message.role === 'assistant' && message.toolCalls),
  )
  if (query === '' || wasCalled || !tools.some((tool) => tool.name === SEARCH_TOOL)) return null
  return { id: `search_${messages.length}`, name: SEARCH_TOOL, arguments: JSON.stringify({ query }) }
}

/**
 * The answer to the last user message, from the context and from what the search tool has found for it: quotes with
 * their marks, or exactly `NOTHING_FOUND`.
 * @returns text with `[n]` marks when citations are asked for.
 */
export function extractAnswer(request: Pick<ChatRequest, 'messages' | 'context' | 'citations'>): string {
  const { question, later } = currentTurn(request.messages)
  const found = later.flatMap((message) =>
    message.role === 'tool' && message.name === SEARCH_TOOL ? parseContext(message.content) : [],
  )
  const quotes = bestSentences(question, [...request.context, ...found])
  if (quotes.length === 0) return NOTHING_FOUND
  const markOf = ({ key }: ContextItem) => (request.citations && key > 0 ? ` [${key}]` : '')
  return quotes.map(({ text, item }) => `“${quoteOf(text)}”${markOf(item)}`).join(' ')
}

/**
 * A chat provider without a model: it quotes what answers the question, word by word, and invents nothing. Of the tools
 * it may be offered it uses `knowledge_search`, once for each question.
 */
export function createOfflineAnswerer(): ChatProvider {
  return {
    name: 'offline',
    model: OFFLINE_CHAT_MODEL,
    modelFor: () => OFFLINE_CHAT_MODEL,
    contextWindow: () => CONTEXT_WINDOW,
    async *stream(request, signal): AsyncGenerator<ChatEvent> {
      signal.throwIfAborted()
      const call = searchCall(request)
      if (call !== null) {
        yield { type: 'tool_call', call }
        yield { type: 'done', finishReason: 'tool_calls', usage: estimateUsage(request, '', [call]) }
        return
      }
      const answer = extractAnswer(request)
      for (const [word] of answer.matchAll(/\S+\s*/g)) {
        signal.throwIfAborted()
        yield { type: 'delta', text: word }
        // Lets the reader have each word before the next is made.
        await Promise.resolve()
      }
      yield { type: 'done', finishReason: 'stop', usage: estimateUsage(request, answer, []) }
    },
  }
}
