import type { Turn } from './data.ts'
import type { Ask } from './use-asking.ts'

/** A turn as it is shown: what is stored, what this window knows of it, or both. */
export type ShownTurn = { key: string; turn: Turn; ask: Ask | null }

/** Milliseconds after which a question without a run and without an answer is given up: the server's limit, and some. */
export const LOST_MS = 180_000

/** Puts the stored turns and the questions of this window together: each question once, in whichever way it was heard of. */
export function shownTurns(stored: readonly Turn[], asks: readonly Ask[]): ShownTurn[] {
  const taken = new Map<string, Ask>()
  const unstored: Ask[] = []
  for (const ask of asks) {
    const turn = stored.find(
      ({ id, question }) =>
        !taken.has(id) &&
        (ask.messageId === null ? !ask.knownIds.has(id) && question === ask.question : id === ask.messageId),
    )
    if (turn) taken.set(turn.id, ask)
    else unstored.push(ask)
  }
  return [
    ...stored.map((turn): ShownTurn => {
      const ask = taken.get(turn.id) ?? null
      return { key: ask ? `ask-${ask.key}` : turn.id, turn, ask }
    }),
    ...unstored.map(
      (ask): ShownTurn => ({
        key: `ask-${ask.key}`,
        turn: { id: `ask-${ask.key}`, question: ask.question, createdAt: '', run: null, answer: null },
        ask,
      }),
    ),
  ]
}

/** Whether an answer is on its way. */
export const isAnswering = ({ turn, ask }: ShownTurn): boolean => {
  if (turn.answer !== null) return false
  if (turn.run !== null) return ['pending', 'running', 'waiting'].includes(turn.run.status)
  if (ask !== null) return ask.error === null && !ask.isOver
  return Date.now() - Date.parse(turn.createdAt) < LOST_MS
}
