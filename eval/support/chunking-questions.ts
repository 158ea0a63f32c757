import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Span } from './chunking-score.ts'

const FOLDER = fileURLToPath(new URL('../../../shared/data/chunking', import.meta.url))

/** A question and where its answers stand in its document. */
export type SpanQuestion = { text: string; answers: Span[] }

/** A document with the questions that were asked about it. */
export type QuestionedDocument = { name: string; text: string; questions: SpanQuestion[] }

type QuestionLine = {
  corpus: string
  text: string
  references: { content: string; start_index: number; end_index: number }[]
}

/**
 * The documents of `chunking/` with their questions.
 * @throws Error when the text at an answer's span is not the answer: the offsets would count something else.
 */
export function readQuestionedDocuments(folder = FOLDER): QuestionedDocument[] {
  const lines = readFileSync(`${folder}/questions.jsonl`, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as QuestionLine)
  const names = [...new Set(lines.map((line) => line.corpus))].sort()
  return names.map((name) => {
    const text = readFileSync(`${folder}/${name}.md`, 'utf8')
    const questions = lines
      .filter((line) => line.corpus === name)
      .map((line) => ({
        text: line.text,
        answers: line.references.map(({ content, start_index: start, end_index: end }) => {
          if (text.slice(start, end) !== content) throw new Error(`${name}: another text stands at ${start} to ${end}.`)
          return { start, end }
        }),
      }))
    return { name, text, questions }
  })
}
