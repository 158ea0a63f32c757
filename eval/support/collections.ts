import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import type { Judgements } from './metrics.ts'

/** Where the judged collections are; they are not part of this repository. */
export const DATA_FOLDER = fileURLToPath(new URL('../../../shared/data', import.meta.url))

export const hasData = (): boolean => existsSync(DATA_FOLDER)

export type Text = { id: string; text: string }

/** A judged collection. */
export type Collection = {
  name: string
  /** Text search configuration of the knowledge base it goes into. */
  language: string
  /** None is empty: a chunk has to have text. */
  documents: Text[]
  questions: Text[]
  /** By the question's id. */
  judgements: ReadonlyMap<string, Judgements>
}

type Line = { _id: string; title?: string; text: string; doc?: string }

function readLines(file: string): Line[] {
  const bytes = readFileSync(join(DATA_FOLDER, file))
  const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  // Not by any other line ends: some texts hold U+2028.
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
}

const titledText = ({ _id, title, text }: Line): Text => ({ id: _id, text: title ? `${title}\n${text}` : text })

function readJudgements(file: string): Map<string, Map<string, number>> {
  const [, ...rows] = readFileSync(join(DATA_FOLDER, file), 'utf8').trim().split('\n')
  return groupJudgements(
    rows.map((row) => {
      const [question = '', document = '', grade = ''] = row.split('\t')
      return [question, document, Number(grade)]
    }),
  )
}

function groupJudgements(judged: [question: string, document: string, grade: number][]) {
  const judgements = new Map<string, Map<string, number>>()
  for (const [question, document, grade] of judged) {
    const ofQuestion = judgements.get(question) ?? new Map<string, number>()
    judgements.set(question, ofQuestion.set(document, grade))
  }
  return judgements
}

/** 1,400 abstracts on aerodynamics (two are empty in the source and left out), 225 questions, grades 1 to 5. */
function readCranfield(): Collection {
  return {
    name: 'cranfield',
    language: 'english',
    documents: readLines('cranfield/corpus.jsonl')
      .map(titledText)
      .filter(({ text }) => text.trim() !== ''),
    questions: readLines('cranfield/queries.jsonl').map(titledText),
    judgements: readJudgements('cranfield/qrels.tsv'),
  }
}

/** 5,183 abstracts and the 809 claims of the training part that they support or refute. */
function readSciFact(): Collection {
  return {
    name: 'scifact',
    language: 'english',
    documents: readLines('scifact/corpus.jsonl.gz').map(titledText),
    questions: readLines('scifact/queries.train.jsonl').map(titledText),
    judgements: readJudgements('scifact/qrels.train.tsv'),
  }
}

/** 240 paragraphs and 1,190 questions, each with one right paragraph; the same in every language. */
function readXquad(code: string, language: string): Collection {
  const questions = readLines(`xquad/${code}.questions.jsonl`)
  return {
    name: `xquad-${code}`,
    language,
    documents: readLines(`xquad/${code}.paragraphs.jsonl`).map(({ _id, text }) => ({ id: _id, text })),
    questions: questions.map(({ _id, text }) => ({ id: _id, text })),
    judgements: groupJudgements(questions.map(({ _id, doc = '' }) => [_id, doc, 1])),
  }
}

const READERS: Record<string, () => Collection> = {
  cranfield: readCranfield,
  scifact: readSciFact,
  'xquad-en': () => readXquad('en', 'english'),
  'xquad-es': () => readXquad('es', 'spanish'),
  'xquad-de': () => readXquad('de', 'german'),
  'xquad-ru': () => readXquad('ru', 'russian'),
  'xquad-ar': () => readXquad('ar', 'arabic'),
  // PostgreSQL has no configuration for Chinese: its characters are indexed in pairs whatever the language says.
  'xquad-zh': () => readXquad('zh', 'simple'),
}

export const COLLECTION_NAMES = Object.keys(READERS)

/** @throws Error for a name that is not in COLLECTION_NAMES, and when the data is not there */
export function readCollection(name: string): Collection {
  const read = READERS[name]
  if (!read) throw new Error(`There is no collection ${name}.`)
  return read()
}
