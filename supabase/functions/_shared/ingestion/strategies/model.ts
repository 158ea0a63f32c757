import { askForObject } from '../../agent/ask-for-object.ts'
import type { AskedDocument, ObjectQuestion } from '../../agent/ask-for-object.ts'
import { ImagesRefusedError, chatImagesOf, withPageImages } from '../../agent/asking-with-images.ts'
import type { LoadedImage } from '../../agent/asking-with-images.ts'
import type { Budget } from '../../agent/budget.ts'
import { AppError } from '../../errors.ts'
import type { IndexingClaim } from '../../ledger.ts'
import { pageImagesOf } from '../../page-images.ts'
import type { PageImage } from '../../page-images.ts'
import type { ChatProvider } from '../../providers/index.ts'
import { hasLanguageModel } from '../../providers/offline-answerer.ts'
import type { IngestionContext } from '../context.ts'
import { LeaseLostError, PermanentError } from '../failures.ts'
import type { IndexingModel, IndexingStrategy, ShownAnswer } from './strategy.ts'

/** What is said about the outcome of an attempt, for `stats` of the indexed source. */
export type Outcome = { counts: Record<string, number>; notes: Set<string> }

/**
 * Whether the model that is set up can answer for a strategy: the offline answerer quotes sentences and can do no more.
 * @throws PermanentError `strategy_needs_model` where the strategy cannot do without.
 */
export function canAsk(chat: ChatProvider, { withoutModel }: IndexingStrategy, outcome: Outcome): boolean {
  if (hasLanguageModel(chat)) return true
  if (withoutModel === 'refuse') {
    throw new PermanentError(
      'strategy_needs_model',
      'This knowledge base asks a language model about each document, and none is set up here. Set OPENAI_API_KEY or OPENAI_BASE_URL and CHAT_MODEL for the worker, then index again.',
    )
  }
  outcome.notes.add('No language model is set up here: indexed without what it would have added.')
  return false
}

type Asking = Pick<IngestionContext, 'chat' | 'ledger' | 'log' | 'store'> & {
  claim: IndexingClaim
  isLastTry: boolean
  signal: AbortSignal
  outcome: Outcome
}

/** The budget of whoever had the source indexed: held back before each call, settled after it. */
const budgetOf = ({ chat, claim, ledger }: Asking): Budget => ({
  async reserve({ model, promptTokens, maxTokens }) {
    const want = { model, provider: chat.name, promptTokens, maxTokens: maxTokens ?? 1 }
    const granted = await ledger.reserveIndexingTokens(claim, want)
    if (granted === null) throw new LeaseLostError('The lease was taken over.')
    return { id: granted.id, maxTokens: granted.max_tokens }
  },
  async settle(id, usage) {
    if (id !== null) await ledger.settleTokens(id, claim.lease_token, usage)
  },
})

const answerThatIsThere = (object: Record<string, unknown>, shown: ShownAnswer['shown']): ShownAnswer => ({
  object,
  error: null,
  note: null,
  shown,
})

/** The chat model for the indexing of one document. */
export function indexingModel(asking: Asking): IndexingModel {
  const { chat, claim, isLastTry, log, outcome, signal, store } = asking
  const access = {
    chat,
    budget: budgetOf(asking),
    signal,
    log: {
      info: (event: string) => log.info(event, { indexed_source_id: claim.indexed_source_id }),
      error: (event: string, fields?: Record<string, unknown>) =>
        log.error(event, { indexed_source_id: claim.indexed_source_id, error: String(fields?.['error'] ?? '') }),
    },
  }
  const count = (name: string, by = 1) => {
    outcome.counts[name] = (outcome.counts[name] ?? 0) + by
  }
  const note = (text: string) => void outcome.notes.add(text)
  const listed = { id: claim.source_id, tenant_id: claim.tenant_id, image: claim.page_images }
  let takesImages = chat.takesImages === true
  const noteRefusal = ({ cause }: ImagesRefusedError) => {
    if (cause instanceof AppError && cause.code === 'context_length_exceeded') {
      // Nothing about images as such: other parts may be shorter.
      note('With images of their pages some parts are too long for the model: there the text alone was read.')
      return
    }
    takesImages = false
    note('The model refused images of pages: from there on their text alone was read.')
  }

  /** What there is to show; the text will do where the storage fails to the last. */
  async function read(images: readonly PageImage[]): Promise<LoadedImage[]> {
    if (!takesImages || images.length === 0) return []
    try {
      return await chatImagesOf(store, images, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (!isLastTry) throw error
      note('Images of pages could not be read: there the text alone was read.')
      return []
    }
  }

  async function askCounted(asked: typeof access, question: ObjectQuestion, document: AskedDocument) {
    try {
      return await askForObject(asked, question, document)
    } catch (error) {
      if (error instanceof AppError && error.code === 'budget_exceeded') {
        throw new PermanentError(error.code, error.message, { cause: error })
      }
      throw error
    } finally {
      count('model_questions')
    }
  }

  return {
    chat,
    documentName: claim.source_name,
    pageImages: takesImages ? pageImagesOf(listed) : [],
    isLastTry,
    async ask(question, document, images = [], known) {
      const illustrations = await read(images)
      const shown = illustrations.map(({ image }) => image)
      const there = known?.(shown)
      if (there) return answerThatIsThere(there, shown)
      if (shown.length === 0) return { ...(await askCounted(access, question, document)), shown }
      const illustrated = withPageImages(
        chat,
        illustrations.map(({ content }) => content),
      )
      try {
        const answer = await askCounted({ ...access, chat: illustrated }, question, document)
        count('images_shown', shown.length)
        return { ...answer, shown }
      } catch (error) {
        if (!(error instanceof ImagesRefusedError)) throw error
        noteRefusal(error)
      }
      const without = known?.([])
      if (without) return answerThatIsThere(without, [])
      return { ...(await askCounted(access, question, document)), shown: [] }
    },
    count,
    note,
  }
}
