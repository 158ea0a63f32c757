import type { ChatMessage } from '../providers/index.ts'
import { messageChars } from './context-size.ts'

/** What stands where a result was taken out. */
export const REMOVED_RESULT = '[This result was removed to save space. Call the tool again if it is needed.]'

/** Where the model was given something to answer: a message of the person, or the results of one answer's calls. */
function turnStarts(messages: readonly ChatMessage[]): number[] {
  const starts: number[] = []
  messages.forEach((message, at) => {
    if (message.role === 'user' || (message.role === 'tool' && messages[at - 1]?.role !== 'tool')) starts.push(at)
  })
  return starts
}

/**
 * Index of the first message of the last turns. A turn begins with a message of the person, or with the answer whose calls
 * were carried out: results are never parted from their calls.
 */
export function startOfLastTurns(messages: readonly ChatMessage[], turns: number): number {
  const start = turnStarts(messages).at(-turns) ?? 0
  return messages[start]?.role === 'tool' ? start - 1 : start
}

/** The messages with results of tools from before the last turns replaced by a placeholder. */
export function withoutOldResults(messages: readonly ChatMessage[], turns: number): ChatMessage[] {
  const from = startOfLastTurns(messages, turns)
  return messages.map((message, at) =>
    message.role === 'tool' && at < from && message.content.length > REMOVED_RESULT.length
      ? { ...message, content: REMOVED_RESULT }
      : message,
  )
}

/** A text cut in the middle to about this many characters, with a note. */
export function cutMiddle(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text
  const half = Math.max(0, Math.floor(maxChars / 2) - 30)
  const left = text.slice(0, half)
  const right = half === 0 ? '' : text.slice(-half)
  return `${left}\n[${text.length - 2 * half} characters were left out here]\n${right}`.toWellFormed()
}

/** Parts of a conversation that stand or fall together: a message, or an answer with the results of its calls. */
function unitsOf(messages: readonly ChatMessage[]): ChatMessage[][] {
  const units: ChatMessage[][] = []
  for (const message of messages) {
    const unit = units.at(-1)
    if (message.role === 'tool' && unit) unit.push(message)
    else units.push([message])
  }
  return units
}

const withResultsOf = (messages: ChatMessage[], maxChars: number): ChatMessage[] =>
  messages.map((message) =>
    message.role === 'tool' ? { ...message, content: cutMiddle(message.content, maxChars) } : message,
  )

const charsOf = (messages: readonly ChatMessage[]) => messages.reduce((sum, message) => sum + messageChars(message), 0)

/**
 * The messages, shortened without a model until they fit: long results are cut, then the oldest parts are left out, then
 * results are cut to almost nothing. The last message of the person and the last part always stay, so the result may still
 * be too long. @param maxChars of all messages together.
 */
export function truncateMessages(messages: readonly ChatMessage[], maxChars: number): ChatMessage[] {
  let units = unitsOf(messages)
  for (const chars of [4000, 1000]) {
    if (charsOf(units.flat()) <= maxChars) return units.flat()
    units = units.map((unit) => withResultsOf(unit, chars))
  }
  const question = units.findLast((unit) => unit[0]?.role === 'user')
  let left = charsOf(units.flat())
  const last = units.at(-1)
  units = units.filter((unit) => {
    if (left <= maxChars || unit === question || unit === last) return true
    left -= charsOf(unit)
    return false
  })
  // An answer cannot come first: the person has to have said something.
  while (units.length > 1 && units[0]?.[0]?.role === 'assistant' && units[0] !== last) units.shift()
  return left <= maxChars ? units.flat() : units.flatMap((unit) => withResultsOf(unit, 200))
}
