import type { AskedDocument, ObjectAnswer, ObjectQuestion } from '../../agent/ask-for-object.ts'
import type { PageImage } from '../../page-images.ts'
import type { ChatProvider } from '../../providers/index.ts'
import type { HashedChunk } from '../chunk/hash.ts'
import type { Page } from '../chunk/pages.ts'

/** What a model was asked, and the images it was shown with that: none where it takes none, or no more of them. */
export type ShownAnswer = ObjectAnswer & { shown: readonly PageImage[] }

/** The chat model as indexing one document may ask it: on the budget of whoever had it indexed, while the lease is held. */
export type IndexingModel = {
  chat: ChatProvider
  /** Name of the document: context for the model, never an instruction. */
  documentName: string
  /** Images of pages, by page; none where the settings do not want them, nobody has drawn them, or the model takes none. */
  pageImages: readonly PageImage[]
  /** Whether the queue does not deliver this work again: what goes without an answer may as well be kept without it. */
  isLastTry: boolean
  /**
   * An object of a certain form about a part of the document, or why there is none. That part goes in as `document`, never
   * into the question. With `images` it is shown these as well, as far as one request may have and the model takes any.
   * @param known gives the answer that is there already for the images that would be shown: then nothing is asked.
   * @throws AppError what the provider throws; PermanentError `budget_exceeded`; LeaseLostError; the reason of a stop.
   */
  ask(
    question: ObjectQuestion,
    document: AskedDocument,
    images?: readonly PageImage[],
    known?: (shown: readonly PageImage[]) => Record<string, unknown> | undefined,
  ): Promise<ShownAnswer>
  /** Adds to a number in `stats` of the indexed source. What an earlier attempt counted is not known any more. */
  count(name: string, by?: number): void
  /** Says something about the outcome in `stats.notes`, once. Our own words, never those of a document or a model. */
  note(text: string): void
}

/**
 * Adds to `meta` of the chunks of one batch what the model says of them, and to what is embedded where they are to be found by
 * it, before they are embedded and staged. Text, span, hash and number of the chunks stay. An error thrown fails the attempt; the next one asks again about this batch at most.
 * @param batch chunks that are not staged yet, in the order of the document; @param all every chunk of it.
 */
export type Annotate = (
  batch: HashedChunk[],
  all: readonly HashedChunk[],
  model: IndexingModel,
  signal: AbortSignal,
) => Promise<HashedChunk[]>

/** Answers about parts of the document that outlive a crash. They are never searched, and gone when indexing is finished. */
export type KeptAnswers = {
  /** Those of earlier attempts, by the hash they were kept under. */
  known: ReadonlyMap<string, Record<string, unknown>>
  /** @param index place of the part among the parts, from 0. @throws LeaseLostError. */
  keep(index: number, hash: string, answer: Record<string, unknown>): Promise<void>
}

/** Makes the chunks of a document itself, by asking the model. @throws as `Annotate` */
export type Divide = (
  pages: readonly Page[],
  model: IndexingModel,
  answers: KeptAnswers,
  signal: AbortSignal,
) => Promise<HashedChunk[]>

/** Chunks that come after those of the document, numbered on from them. @throws as `Annotate` */
export type Extend = (
  pages: readonly Page[],
  chunks: readonly HashedChunk[],
  model: IndexingModel,
  answers: KeptAnswers,
  signal: AbortSignal,
) => Promise<HashedChunk[]>

/** What a strategy adds to indexing besides dividing and embedding: one of `annotate`, `divide` and `extend`. */
export type IndexingStrategy = {
  /** What is asked, as JSON: part of the hash of every chunk that a model has been asked about, so that changed settings ask again. */
  settings: unknown
  /**
   * Where no language model is set up: `refuse` fails the source with the reason `strategy_needs_model`, `skip` indexes it
   * without what the model adds.
   */
  withoutModel: 'refuse' | 'skip'
  annotate?: Annotate
  divide?: Divide
  extend?: Extend
}
