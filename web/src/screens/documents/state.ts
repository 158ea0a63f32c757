/** A document in one knowledge base, and how far its indexing is there. */
export type Place = {
  id: string
  knowledge_base_id: string
  index_status: string
  indexed_at: string | null
  reason_code: string | null
  error_message: string | null
  attempts: number
  next_retry_at: string | null
}

/** What of a row of ai.sources says how far it is. */
export type Progress = {
  extraction_status: string
  uploaded_at: string | null
  reason_code: string | null
  error_message: string | null
  attempts: number
  next_retry_at: string | null
  places: readonly Place[]
}

/** Why a document cannot be searched, and what helps. */
export type Failure = {
  message: string
  reasonCode: string | null
  /** What to do about it, in a sentence; null where the message says so. */
  advice: string | null
  /** `upload`: the bytes are missing or wrong; `extract`: begin again with what is stored; `index`: the text is there. */
  remedy: 'upload' | 'extract' | 'index'
}

/** Of the tones of a badge. */
type Tone = 'neutral' | 'good' | 'warn' | 'bad' | 'info'

export type State = {
  /** For a badge. */
  label: string
  tone: Tone
  /** Nothing more happens by itself. */
  isSettled: boolean
  /** Of the steps uploaded, text extracted, indexed: how many are done. */
  done: 0 | 1 | 2 | 3
  /** What is under way or was called off, in a few words. */
  detail: string | null
  failure: Failure | null
  /** In how many of its knowledge bases it is indexed, e.g. `1 of 2`, while that goes on. */
  indexed: string | null
}

/** Reasons that lie in the file: the sentence that the worker says of them ends with what to do. */
const IN_THE_FILE = new Set([
  'encrypted_document',
  'corrupt_document',
  'empty_document',
  'no_text_layer',
  'too_large',
  'limit_exceeded',
  'unsupported_type',
])

/** For the others, from docs/errors.md, "Why a source is not searchable". */
const ADVICE: Record<string, string> = {
  object_missing: 'Upload the file again.',
  hash_mismatch: 'Upload the file again.',
  provider_refused: 'An admin has to check the settings of the embedding provider; then try again.',
  embedding_invalid: 'An admin has to check the embedding model and its provider; then try again.',
  model_unavailable: 'An admin has to set up the provider of the embedding model; then try again.',
  dead_letter: 'It failed as often as it may be tried by itself. Try it once more.',
  internal: 'This is a mistake of the server. Report the id of the document.',
}

const failureOf = (
  row: { reason_code: string | null; error_message: string | null },
  fallback: string,
  remedy: Failure['remedy'],
): Failure => ({
  message: row.error_message ?? fallback,
  reasonCode: row.reason_code,
  advice: IN_THE_FILE.has(row.reason_code ?? '') ? null : (ADVICE[row.reason_code ?? ''] ?? 'Try again.'),
  remedy: ['object_missing', 'hash_mismatch'].includes(row.reason_code ?? '') ? 'upload' : remedy,
})

const retrying = ({ attempts, next_retry_at, error_message }: Progress | Place): string | null =>
  next_retry_at === null || attempts < 1
    ? null
    : `Attempt ${attempts} did not succeed${error_message ? ` (${error_message})` : ''}; it is tried again by itself.`

const state = (label: string, tone: Tone, done: State['done'], rest: Partial<State> = {}): State => ({
  label,
  tone,
  done,
  isSettled: false,
  detail: null,
  failure: null,
  indexed: null,
  ...rest,
})

const settled = { isSettled: true }

/** How far a document is, in one word and all that belongs to it. */
export function stateOf(row: Progress): State {
  if (row.uploaded_at === null) {
    return state('upload incomplete', 'warn', 0, {
      ...settled,
      failure: {
        message: 'The upload was interrupted before all bytes had arrived.',
        reasonCode: 'upload_incomplete',
        advice: 'Upload the file again; from a minute after the first attempt on it takes the place of this one.',
        remedy: 'upload',
      },
    })
  }
  switch (row.extraction_status) {
    case 'pending':
      return state('stored', 'info', 1, { detail: retrying(row) ?? 'Waiting for its turn to be read.' })
    case 'extracting':
      return state('extracting text', 'info', 1)
    case 'cancelled':
      return state('cancelled', 'neutral', 1, { ...settled, detail: 'The extraction of its text was called off.' })
    case 'failed':
      return state('failed', 'bad', 1, {
        ...settled,
        failure: failureOf(row, 'Its text could not be read.', 'extract'),
      })
    case 'attention_required':
      return state('needs attention', 'warn', 1, {
        ...settled,
        failure: failureOf(row, 'Its text could not be read.', 'extract'),
      })
  }
  return stateOfIndexing(row.places)
}

function stateOfIndexing(places: readonly Place[]): State {
  if (places.length === 0) {
    return state('in no knowledge base', 'neutral', 2, {
      ...settled,
      detail: 'Its text is there, but search finds it only in a knowledge base.',
    })
  }
  const indexed = places.filter((place) => place.index_status === 'indexed').length
  const count = `${indexed} of ${places.length}`
  const failed = places.find((place) => place.index_status === 'failed')
  const isBusy = places.some((place) => ['pending', 'indexing'].includes(place.index_status))
  if (isBusy) {
    const detail = places.map(retrying).find((each) => each !== null) ?? null
    return state(`indexing ${count}`, 'info', 2, { detail, indexed: count })
  }
  if (failed) {
    const label = places.length > 1 ? `failed, indexed ${count}` : 'failed'
    return state(label, 'bad', 2, { ...settled, failure: failureOf(failed, 'It could not be indexed.', 'index') })
  }
  if (indexed === places.length) return state('indexed', 'good', 3, settled)
  return state(places.length > 1 ? `cancelled, indexed ${count}` : 'cancelled', 'neutral', 2, {
    ...settled,
    detail: 'Its indexing was called off.',
  })
}
