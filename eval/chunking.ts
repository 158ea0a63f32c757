import { chunkPages, DEFAULT_CHUNK_OPTIONS } from '../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { readQuestionedDocuments, type QuestionedDocument } from './support/chunking-questions.ts'
import { openLexer, rankerOf, type Lexer, type WordCounts } from './support/chunking-rank.ts'
import { scoreSpans, takeCharacters, type Span, type SpanScore } from './support/chunking-score.ts'
import { figure, type Section } from './support/section.ts'

/** A chunk: its span, and the text it is found by. */
type Passage = Span & { indexed: string }

type Chunker = (text: string) => Passage[]

/** Averages over all questions; `length` is the average of all chunks, in characters. */
type Result = SpanScore & { length: number }

const CHUNKS_RETURNED = 5
const SIZES = [400, 800, 1200]
const OTHER_SIZES = [100, 200, 300, 600, 800]
/** The rule of thumb that the chunker's estimate of tokens is made from. */
const CHARACTERS_PER_TOKEN = 4
const RECALL_BAR = 0.92

/** The baseline: every so many characters, wherever that is. */
const fixedSize =
  (size: number): Chunker =>
  (text) =>
    Array.from({ length: Math.ceil(text.length / size) }, (_, index) => {
      const start = index * size
      const indexed = text.slice(start, start + size)
      return { start, end: start + indexed.length, indexed }
    })

/** The overlap that goes with a size, in the proportion of the defaults. */
const overlapFor = (chunkSize: number): number =>
  Math.round((chunkSize * DEFAULT_CHUNK_OPTIONS.overlap) / DEFAULT_CHUNK_OPTIONS.chunkSize)

type OursOptions = { chunkSize: number; overlap?: number; withHeadings?: boolean }

const ours =
  ({ chunkSize, overlap = overlapFor(chunkSize), withHeadings = true }: OursOptions): Chunker =>
  (text) =>
    chunkPages([{ page_number: 1, text }], { chunkSize, overlap }).map((chunk) => ({
      start: chunk.start_char,
      end: chunk.end_char,
      indexed: withHeadings ? [...chunk.meta.heading_path, chunk.text].join('\n') : chunk.text,
    }))

const average = (values: number[]): number => values.reduce((total, value) => total + value, 0) / values.length

/** Measures chunkers, each with the number of characters it may return for a question. */
function measurer(documents: QuestionedDocument[], questions: WordCounts[][], lexer: Lexer) {
  return async (chunker: Chunker, characters: number): Promise<Result> => {
    const scores: SpanScore[] = []
    const lengths: number[] = []
    for (const [position, { text, questions: asked }] of documents.entries()) {
      const passages = chunker(text)
      lengths.push(...passages.map(({ start, end }) => end - start))
      const rank = rankerOf(await lexer.read(passages.map(({ indexed }) => indexed)))
      asked.forEach(({ answers }, index) => {
        const ranked = rank(questions[position]?.[index] as WordCounts).map((found) => passages[found] as Passage)
        scores.push(scoreSpans(takeCharacters(ranked, characters), answers))
      })
    }
    const averageOf = (name: keyof SpanScore) => average(scores.map((score) => score[name]))
    return {
      recall: averageOf('recall'),
      precision: averageOf('precision'),
      iou: averageOf('iou'),
      length: average(lengths),
    }
  }
}

/**
 * The chunker on documents whose answers are known to the character, beside chunks of a fixed size. Chunks are ranked by
 * BM25 inside the document of the question; every chunker returns the same number of characters for it.
 */
export async function evaluateChunking(): Promise<Section> {
  const documents = readQuestionedDocuments()
  const lexer = await openLexer()
  try {
    const questions: WordCounts[][] = []
    for (const { questions: asked } of documents) questions.push(await lexer.read(asked.map(({ text }) => text)))
    const measure = measurer(documents, questions, lexer)
    const rows: string[][] = []
    const add = async (name: string, chunker: Chunker, characters: number): Promise<Result> => {
      const result = await measure(chunker, characters)
      const { length, recall, precision, iou } = result
      rows.push([name, String(characters), length.toFixed(0), figure(recall), figure(precision), figure(iou)])
      return result
    }

    const bars: Section['bars'] = []
    for (const size of SIZES) {
      const characters = CHUNKS_RETURNED * size
      const chunkSize = size / CHARACTERS_PER_TOKEN
      const baseline = await add(`every ${size} characters`, fixedSize(size), characters)
      const result = await add(`${chunkSize} tokens, overlap ${overlapFor(chunkSize)}`, ours({ chunkSize }), characters)
      await add('  found by their text alone', ours({ chunkSize, withHeadings: false }), characters)
      await add(`${chunkSize} tokens, overlap 0`, ours({ chunkSize, overlap: 0 }), characters)
      if (size !== 800) continue
      bars.push(
        { name: 'chunker: recall at 800 characters', measured: result.recall, atLeast: RECALL_BAR },
        { name: 'chunker: precision at equal characters', measured: result.precision, atLeast: baseline.precision },
      )
    }
    // What the default returns with five chunks, given to other sizes as well.
    const { chunkSize, overlap } = DEFAULT_CHUNK_OPTIONS
    const characters = CHUNKS_RETURNED * chunkSize * CHARACTERS_PER_TOKEN
    await add(`${chunkSize} tokens, overlap ${overlap} (default)`, ours(DEFAULT_CHUNK_OPTIONS), characters)
    for (const size of OTHER_SIZES) {
      await add(`${size} tokens, overlap ${overlapFor(size)}`, ours({ chunkSize: size }), characters)
    }

    const questionCount = documents.reduce((total, { questions: asked }) => total + asked.length, 0)
    return {
      title: `Chunking: ${documents.length} documents, ${questionCount} questions`,
      columns: ['chunks', 'returned', 'average', 'recall', 'precision', 'IoU'],
      rows,
      bars,
      notes: [
        'Returned: five times the size in characters. The last chunk is cut to fit; what overlap repeats takes room twice.',
        'Average: length of all chunks in characters. Ours are found by heading path and text, as far as not said otherwise.',
        'Reference for fixed sizes (another list of stop words): recall .782, .902, .957; precision .097, .058, .043.',
      ],
    }
  } finally {
    await lexer.close()
  }
}
