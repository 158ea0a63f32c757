import { promptOf } from '../../support/scripted-model/index.ts'
import type { ModelInput, Player } from '../../support/scripted-model/index.ts'

/** An entry of a list as the model gets it. */
export type ListEntry = Record<string, unknown> & { n: number }
/** What a model is asked to pick from. */
export type Choice = { what: 'documents' | 'sections'; entries: ListEntry[]; prompt: string }

/** What a request asks to pick, or null when it asks for something else. */
export function choiceOf(input: Pick<ModelInput, 'messages'>): Choice | null {
  const prompt = promptOf(input)
  const [, what] = /Pick the (documents|sections) in which/.exec(prompt) ?? []
  if (what === undefined) return null
  const entries = prompt
    .split('\n')
    .filter((line) => line.startsWith('{"n":'))
    .map((line) => JSON.parse(line) as ListEntry)
  return { what: what as Choice['what'], entries, prompt }
}

/** A model that picks the entries in which one of these words stands, in the order of the words, and does `otherwise` with all else. */
export const picking =
  (wanted: Record<Choice['what'], string[]>, otherwise: Player = () => ({ text: 'Yes.' })): Player =>
  (input) => {
    const choice = choiceOf(input)
    if (choice === null) return otherwise(input)
    const found = wanted[choice.what].flatMap((word) =>
      choice.entries.filter((entry) => JSON.stringify(entry).includes(word)),
    )
    return { text: JSON.stringify({ numbers: found.map(({ n }) => n) }) }
  }
