import type { GateMemory } from '../agent/types.ts'
import type { HookPayload, HookRow } from './types.ts'

/** The value as JSON, with the keys of objects in order: the same for what a database has stored. */
export const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )

/** Tells a question to a hook from any other: the hook as it is set up now, and what it is told. SHA-256 in hex. */
export async function questionOf({ id, type, matcher, config }: HookRow, payload: HookPayload): Promise<string> {
  const text = canonical([id, type, matcher, config, payload])
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

type Answer<T> = { question: string; answer: T }

/** What hooks have answered about one call, kept with it: a hook that was asked before a person decided is not asked after. */
export function createHookAnswers<T>(memory: GateMemory | undefined) {
  const answers = [...(memory?.past ?? [])] as Answer<T>[]
  return {
    /** Null: it has not been asked. */
    find: (question: string): T | null => answers.find((one) => one.question === question)?.answer ?? null,
    keep(question: string, answer: T): void {
      answers.push({ question, answer })
      memory?.keep(answers)
    },
  }
}
