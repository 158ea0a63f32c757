import { AppError } from '../errors.ts'
import type { ToolCall } from './index.ts'

/** Calls of one answer, and characters of one call and of all together: nothing sensible is larger. */
const MAX_CALLS = 128
const MAX_ARGUMENT_CHARS = 1_000_000
const MAX_CHARS = 2_000_000
const USABLE_ID = /^[\x21-\x7e]{1,200}$/

/** A piece of a call as servers send it: any member may be missing or of another type. */
type Piece = { index: number | null; id: string; name: string; arguments: unknown }
type PartialCall = { id: string; name: string; arguments: string }

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const objectOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

/** Whether a text is one JSON object. */
export function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

function piecesOf(delta: Record<string, unknown>): Piece[] {
  const { tool_calls: calls, function_call: old } = delta
  const given: unknown[] = Array.isArray(calls) ? calls : []
  // The one call of the API's first form has neither index nor id.
  const all = typeof old === 'object' && old !== null ? [...given, { index: 0, function: old }] : given
  return all.map((entry) => {
    const { index, id, function: called } = objectOf(entry)
    const { name, arguments: args } = objectOf(called)
    return {
      index: Number.isInteger(index) ? (index as number) : null,
      id: textOf(id),
      name: textOf(name),
      arguments: args,
    }
  })
}

/** Whether a piece that goes to the place of `call` begins another call there: some servers give all calls the index 0. */
function beginsAnother(call: PartialCall, piece: Piece): boolean {
  if (piece.name === '') return false
  if (piece.id !== '' && call.id !== '') return piece.id !== call.id
  if (call.arguments === '') return false
  if (piece.name !== call.name) return true
  // The same name again is a repetition, unless the call is whole and new arguments come with it.
  return isJsonObject(call.arguments) && piece.arguments !== undefined && piece.arguments !== ''
}

/** Puts calls together from the pieces of a stream. */
export type ToolCallAssembler = {
  /** Takes the calls' pieces out of one delta. @throws AppError `upstream_failed` when they grow beyond all measure. */
  push(delta: object): void
  /**
   * The calls, in the order they began. Ids that are missing, unusable or taken are replaced; no arguments become `{}`.
   * @param wasCut the answer was cut off: calls whose arguments are not whole are left out, for they were not meant so.
   */
  finish(wasCut: boolean): ToolCall[]
}

/** @param takenIds ids of earlier calls of the conversation, which a new one may not have again. */
export function createToolCallAssembler(takenIds: Iterable<string>): ToolCallAssembler {
  const calls: PartialCall[] = []
  const byIndex = new Map<number, PartialCall>()
  let chars = 0

  function placeOf(piece: Piece): PartialCall | undefined {
    if (piece.index !== null) return byIndex.get(piece.index)
    const sameId = piece.id === '' ? undefined : calls.findLast((call) => call.id === piece.id)
    return sameId ?? calls.at(-1)
  }

  function add(piece: Piece): void {
    let call = placeOf(piece)
    if (call === undefined || beginsAnother(call, piece)) {
      call = { id: '', name: '', arguments: '' }
      calls.push(call)
      if (piece.index !== null) byIndex.set(piece.index, call)
    }
    const before = call.name.length + call.arguments.length
    if (call.id === '') call.id = piece.id
    if (piece.name !== call.name) call.name += piece.name
    if (typeof piece.arguments === 'string') call.arguments += piece.arguments
    else if (typeof piece.arguments === 'object' && piece.arguments !== null) {
      call.arguments = JSON.stringify(piece.arguments)
    }
    const size = call.name.length + call.arguments.length
    chars += size - before
    if (calls.length > MAX_CALLS || size > MAX_ARGUMENT_CHARS || chars > MAX_CHARS) {
      throw new AppError('upstream_failed', 'The model provider sent calls that are too large.')
    }
  }

  return {
    push(delta) {
      for (const piece of piecesOf(objectOf(delta))) add(piece)
    },
    finish(wasCut) {
      const taken = new Set(takenIds)
      return calls
        .filter((call) => !wasCut || isJsonObject(call.arguments))
        .map((call) => {
          const isFree = USABLE_ID.test(call.id) && !taken.has(call.id)
          const id = isFree ? call.id : `call_${crypto.randomUUID().replaceAll('-', '')}`
          taken.add(id)
          return { id, name: call.name, arguments: call.arguments.trim() === '' ? '{}' : call.arguments }
        })
    },
  }
}
