import { z } from 'zod'
import { jsonObject } from '../http.ts'

/** Tools of one server that are looked at. */
export const MAX_TOOLS = 100
/** Bytes of one input schema, as JSON. */
export const MAX_SCHEMA_BYTES = 32 * 1024
/** Bytes of all definitions of a server, as JSON. */
export const MAX_DEFINITIONS_BYTES = 256 * 1024
const MAX_NAME_CHARS = 200
const MAX_DESCRIPTION_CHARS = 8_000
/** Objects and lists inside each other: more than any schema has, far less than a recursion breaks at. */
const MAX_DEPTH = 40

/** NUL or half a surrogate pair, as JSON writes them: Postgres stores neither. */
const UNSTORABLE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/

/** A tool as its server defines it now. */
export type LiveTool = {
  name: string
  description: string
  input_schema: Record<string, unknown>
  /** Hints of the server about the tool; part of what is approved. */
  annotations: Record<string, unknown> | null
  /** The server says that calls change nothing. */
  read_only: boolean
}

/** A definition that an admin has approved, as ai.agent_mcp_servers.pinned_tools holds it. */
export const pinnedTool = z.object({
  name: z.string().min(1).max(MAX_NAME_CHARS),
  description: z.string().max(MAX_DESCRIPTION_CHARS),
  input_schema: jsonObject,
  read_only: z.boolean(),
  /** SHA-256 of the definition, in 64 hex digits. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
})
export type PinnedTool = z.output<typeof pinnedTool>

/** The column pinned_tools; null: nobody has approved anything yet. */
export const pinnedTools = z.array(pinnedTool).max(MAX_TOOLS).nullable()

/** A text of a server as it may stand in a warning: quoted, short, without control characters. */
export const quoted = (text: string): string => JSON.stringify(text.slice(0, 64).replace(/\p{C}/gu, '?'))

/**
 * JSON with the keys of every object in order, so that equal values have equal texts (RFC 8785 for what JSON.parse gives).
 * @throws RangeError when the value nests deeper than 40 levels.
 */
export function canonicalJson(value: unknown, depth = 0): string {
  if (depth > MAX_DEPTH) throw new RangeError('The value nests too deeply.')
  if (Array.isArray(value)) return `[${value.map((entry) => canonicalJson(entry, depth + 1)).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null)
  const members = Object.entries(value)
    .filter(([, entry]) => entry !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry, depth + 1)}`)
  return `{${members.join(',')}}`
}

const definitionText = ({ name, description, input_schema, annotations }: Omit<LiveTool, 'read_only'>): string =>
  canonicalJson({ name, description, input_schema, annotations })

const bytesOf = (text: string): number => new TextEncoder().encode(text).byteLength

/** SHA-256 over all that a definition tells a model or us: name, description, schema, annotations. In hex. */
export async function definitionHash(tool: LiveTool): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(definitionText(tool)))
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The form in which definitions are approved: to be stored in pinned_tools by an admin. */
export function pinToolDefinitions(tools: readonly LiveTool[]): Promise<PinnedTool[]> {
  return Promise.all(
    tools.map(async (tool) => ({
      name: tool.name,
      description: tool.description,
      input_schema: tool.input_schema,
      read_only: tool.read_only,
      hash: await definitionHash(tool),
    })),
  )
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A definition as a server sends it, or what is wrong with it. */
export function readDefinition(value: unknown): { tool: LiveTool; bytes: number } | { problem: string } {
  if (!isRecord(value) || typeof value['name'] !== 'string') return { problem: 'A tool without a name was left out.' }
  const { name, inputSchema, annotations = null } = value
  // Some servers write null for what they leave out.
  const description = value['description'] ?? ''
  const leftOut = (why: string) => ({ problem: `The tool ${quoted(name)} was left out: ${why}.` })
  if (name === '' || name.length > MAX_NAME_CHARS) return leftOut(`its name has not 1 to ${MAX_NAME_CHARS} characters`)
  if (typeof description !== 'string' || description.length > MAX_DESCRIPTION_CHARS) {
    return leftOut(`its description is no text of at most ${MAX_DESCRIPTION_CHARS} characters`)
  }
  if (!isRecord(inputSchema) || inputSchema['type'] !== 'object') return leftOut('its schema is not one of an object')
  if (annotations !== null && !isRecord(annotations)) return leftOut('its annotations are no object')
  const tool: LiveTool = {
    name,
    description,
    input_schema: inputSchema,
    annotations,
    read_only: annotations?.['readOnlyHint'] === true,
  }
  try {
    if (bytesOf(canonicalJson(inputSchema)) > MAX_SCHEMA_BYTES) {
      return leftOut(`its schema is larger than ${MAX_SCHEMA_BYTES} bytes`)
    }
    const text = definitionText(tool)
    if (UNSTORABLE.test(text)) return leftOut('its definition has a character that cannot be stored')
    return { tool, bytes: bytesOf(text) }
  } catch {
    return leftOut('its definition nests too deeply')
  }
}

/** Which approved tools are still what was approved, and what an admin has to look at. */
export type PinCheck = {
  unchanged: PinnedTool[]
  /** Names. */
  changed: string[]
  missing: string[]
  added: string[]
}

/** Compares what a server offers now with what was approved. Names that the server has twice count as changed. */
export async function checkPins(pins: readonly PinnedTool[], live: readonly LiveTool[]): Promise<PinCheck> {
  const check: PinCheck = { unchanged: [], changed: [], missing: [], added: [] }
  const hashes = new Map<string, string[]>()
  for (const tool of live) hashes.set(tool.name, [...(hashes.get(tool.name) ?? []), await definitionHash(tool)])
  for (const pin of pins) {
    const found = hashes.get(pin.name)
    if (found === undefined) check.missing.push(pin.name)
    else if (found.length === 1 && found[0] === pin.hash) check.unchanged.push(pin)
    else check.changed.push(pin.name)
  }
  const pinned = new Set(pins.map((pin) => pin.name))
  check.added = [...hashes.keys()].filter((name) => !pinned.has(name))
  return check
}
