import type { ObjectAnswer } from '../agent/ask-for-object.ts'
import type { Budget } from '../agent/budget.ts'
import { refusesWhatWasSent } from '../agent/provider-call.ts'
import { AT_ONCE_WITH_IMAGES } from '../chat-images.ts'
import type { Db, Deps } from '../context.ts'
import type { EnrichmentClaim } from '../enrichment-ledger.ts'
import { AppError, unwrap } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import { PAGE_IMAGE_COLUMNS, pageImagesOf } from '../page-images.ts'
import type { PageImageRow } from '../page-images.ts'
import type { WithChat } from '../providers/index.ts'
import { hasLanguageModel } from '../providers/offline-answerer.ts'
import type { ToolKit } from '../tools/kit.ts'
import { askWithImages } from './ask-with-images.ts'
import type { IllustratedDocument } from './ask-with-images.ts'
import { askAbout, readableChars, without } from './ask.ts'
import type { Questions } from './ask.ts'
import { needsModel } from './fields.ts'

/** What carrying out an enrichment needs from outside. */
export type EnrichmentDeps = Pick<Deps, 'clientFor' | 'delegation' | 'ledger' | 'log'> &
  WithChat & { tools: Pick<ToolKit, 'pageImages'> }

/** The lease went to somebody else, or the run is no more. The holder stops and writes nothing more. */
export class EnrichmentLostError extends Error {
  override name = 'EnrichmentLostError'
}

/** How much is done before others get a turn. */
export type EnrichmentShare = {
  /** Sources asked about at once. */
  atOnce: number
  /** Sources after which the rest is left for another turn. */
  most: number
}

type Item = { id: string; source_id: string; source_name: string; source_extracted_at: string | null }

const PAGES_PER_READ = 50

/** What may be wrong with one document or with the provider: what becomes of others asked at the same time tells which. */
const PERHAPS_OF_THE_DOCUMENT: ErrorCode[] = ['upstream_failed', 'upstream_timeout']

class UnansweredError extends Error {
  readonly item: Item
  override readonly cause: AppError

  constructor(item: Item, cause: AppError) {
    super(cause.message)
    this.item = item
    this.cause = cause
  }
}

function kept<T>(value: T | null): T {
  if (value === null || value === false) throw new EnrichmentLostError('The lease was taken over.')
  return value
}

/** The budget of who started the run: held back before each call, settled after it. */
const budgetOf = ({ ledger, chat }: EnrichmentDeps, claim: EnrichmentClaim): Budget => ({
  async reserve({ model, promptTokens }) {
    const want = { model, provider: chat.name, promptTokens, maxTokens: claim.max_tokens }
    const granted = kept(await ledger.reserveEnrichmentTokens(claim, want))
    return { id: granted.id, maxTokens: granted.max_tokens }
  },
  async settle(id, usage) {
    if (id !== null) await ledger.settleTokens(id, claim.lease_token, usage)
  },
})

/** A client with a token of whoever the run acts for, minted only while they may have it done. */
async function actAs({ ledger, delegation, clientFor }: EnrichmentDeps, claim: EnrichmentClaim): Promise<Db> {
  const { sub, tenant_id: tenantId } = kept(await ledger.delegateEnrichment(claim))
  const act = { sub: 'enrichment', enrichment_id: claim.enrichment_id }
  const { token } = await delegation.mint({ sub, tenantId, act })
  return clientFor({ userId: sub, token, tenantId })
}

/** Whether the model is to be shown images of pages. */
async function wantsImages(db: Db, claim: EnrichmentClaim): Promise<boolean> {
  const query = db.schema('ai').from('enrichments').select('use_multimodal').eq('id', claim.enrichment_id)
  const [row] = unwrap(await query.returns<{ use_multimodal: boolean }[]>())
  return row?.use_multimodal === true
}

/**
 * The text of a source as this client may read it, or its beginning, and the images that its row lists, where they are used;
 * null: the source is not there for it.
 */
async function readDocument(
  db: Db,
  item: Item,
  limit: number,
  usesImages: boolean,
): Promise<IllustratedDocument | null> {
  const row = db
    .schema('ai')
    .from('sources')
    .select(usesImages ? PAGE_IMAGE_COLUMNS : 'id,tenant_id')
  const [seen] = unwrap(await row.eq('id', item.source_id).returns<PageImageRow[]>())
  if (seen === undefined) return null
  const parts: string[] = []
  let length = 0
  for (let from = 0; length <= limit; from += PAGES_PER_READ) {
    const pages = unwrap(
      await db
        .schema('ai')
        .from('source_pages')
        .select('text')
        .eq('source_id', item.source_id)
        .order('page_number')
        .range(from, from + PAGES_PER_READ - 1)
        .returns<{ text: string }[]>(),
    )
    for (const { text } of pages) {
      parts.push(text)
      length += text.length + 2
    }
    if (pages.length < PAGES_PER_READ) break
  }
  const text = parts.join('\n\n')
  return { name: item.source_name, text, isWhole: true, images: usesImages ? pageImagesOf(seen) : [] }
}

/** What is asked, and whether the model is shown images with it. */
type Form = { questions: Questions; usesImages: boolean }

/** Asks about one source. Null: nothing happens to one that the person cannot see any more. */
async function askAboutItem(
  deps: EnrichmentDeps,
  claim: EnrichmentClaim,
  item: Item,
  { questions, usesImages }: Form,
  signal: AbortSignal,
): Promise<ObjectAnswer | null> {
  const { chat, log, tools } = deps
  const document = await readDocument(await actAs(deps, claim), item, readableChars(chat, questions), usesImages)
  if (document === null) return null
  const access = { chat, budget: budgetOf(deps, claim), signal, log }
  const asked = usesImages
    ? askWithImages(access, tools.pageImages, questions, document)
    : askAbout(access, questions, document)
  return await asked.catch((error: unknown) => {
    if (signal.aborted || !(error instanceof AppError) || !PERHAPS_OF_THE_DOCUMENT.includes(error.code)) throw error
    throw new UnansweredError(item, error)
  })
}

async function store({ ledger, chat }: EnrichmentDeps, claim: EnrichmentClaim, item: Item, answer: ObjectAnswer) {
  const about = { indexedSourceId: item.id, sourceExtractedAt: item.source_extracted_at }
  const { object: values, ...rest } = answer
  kept(await ledger.storeEnrichmentResult(claim, { values, ...rest, ...about, model: chat.modelFor(claim.llm_model) }))
}

/**
 * Asks about sources of a run, those that whoever it acts for can see at that moment, and stores each result as it comes.
 * @param onStored is called for each result, whatever becomes of the rest.
 * @returns how many were asked about, and whether none is left.
 * @throws EnrichmentLostError; AppError `enrichment_needs_model`, `membership_lost`, `budget_exceeded`; what providers throw.
 */
export async function enrichSources(
  deps: EnrichmentDeps,
  claim: EnrichmentClaim,
  share: EnrichmentShare,
  signal: AbortSignal,
  onStored: () => void = () => {},
): Promise<{ asked: number; isDone: boolean }> {
  if (!hasLanguageModel(deps.chat)) throw needsModel()
  const keep = async (item: Item, answer: ObjectAnswer) => {
    await store(deps, claim, item, answer)
    onStored()
  }
  const enrich = async (item: Item, form: Form) => {
    const answer = await askAboutItem(deps, claim, item, form, signal)
    if (answer !== null) await keep(item, answer)
    return answer
  }
  const questions: Questions = { fields: claim.fields, model: claim.llm_model, maxTokens: claim.max_tokens }
  let usesImages: boolean | undefined
  let asked = 0
  let isProviderWell = false
  /** Refused while nothing was answered yet: only an answer about another document tells that it was about these. */
  let refused: UnansweredError[] = []
  const isLeft = ({ id }: Item) => !refused.some(({ item }) => item.id === id)
  for (let looked = 0; looked < share.most; ) {
    signal.throwIfAborted()
    const db = await actAs(deps, claim)
    usesImages ??= await wantsImages(db, claim)
    const form: Form = { questions, usesImages }
    const atOnce = usesImages ? Math.min(share.atOnce, AT_ONCE_WITH_IMAGES) : share.atOnce
    const listed = unwrap<Item[]>(
      await db
        .schema('ai')
        .rpc('items_to_enrich', { enrichment_id: claim.enrichment_id, item_limit: atOnce + refused.length }),
    )
    const items = listed.filter(isLeft).slice(0, atOnce)
    if (items.length === 0 && refused.length === 0) return { asked, isDone: true }
    if (items.length === 0) break
    looked += items.length
    const outcomes = await Promise.allSettled(items.map((item) => enrich(item, form)))
    const answers = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? (outcome.value ?? []) : []))
    asked += answers.length
    // About a document without text nobody was asked.
    const isAnswered = answers.some(({ error }) => error?.code !== 'empty_document')
    isProviderWell ||= isAnswered
    const failed: UnansweredError[] = []
    for (const outcome of outcomes) {
      if (outcome.status !== 'rejected') continue
      if (!(outcome.reason instanceof UnansweredError)) throw outcome.reason
      if (refusesWhatWasSent(outcome.reason.cause)) refused.push(outcome.reason)
      else failed.push(outcome.reason)
    }
    for (const { item, cause } of failed) {
      if (!isAnswered) throw cause
      await keep(item, without('provider_failed', 'The provider of the model failed at this document.'))
    }
    asked += failed.length
    if (!isProviderWell) continue
    for (const { item } of refused) {
      await keep(item, without('provider_refused', 'The provider of the model refused this document.'))
    }
    asked += refused.length
    refused = []
  }
  if (refused[0] !== undefined) throw refused[0].cause
  return { asked, isDone: false }
}
