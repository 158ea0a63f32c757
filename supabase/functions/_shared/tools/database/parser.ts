import { readFile } from 'node:fs/promises'
// The package's entry point would load the parser on import and could not replace a broken one.
// @ts-ignore tsc has no types of this file; Deno takes those named below.
// @ts-types="./libpg-query.d.ts"
import createModule from 'libpg-query/wasm/libpg-query.js'
import type { ParserModule } from './libpg-query.d.ts'
import { QueryRefused } from './refusal.ts'

/** A node of PostgreSQL's raw parse tree as JSON, e.g. `{ColumnRef: {fields: [...], location: 7}}`. */
export type Node = Record<string, unknown>

/** Characters of a query that is looked at. */
export const MAX_QUERY_CHARS = 10_000

/** Parentheses and brackets that may be open at once. The grammar needs stack for each; people need a handful. */
const MAX_NESTING = 60

/** Path of the package's wasm file: the loader knows its own folder under every runtime and asks where the file is. */
async function wasmPath(): Promise<string> {
  let path: string | undefined
  const stop = new Error('The path is all that is needed.')
  try {
    await createModule({
      locateFile(name: string, folder: string) {
        path = folder + name
        throw stop
      },
    })
  } catch (error) {
    if (error !== stop) throw error
  }
  if (path === undefined) throw new Error('The SQL parser did not say where its wasm file is.')
  return path
}

let compiled: Promise<WebAssembly.Module> | undefined
let loaded: Promise<ParserModule> | undefined

/**
 * The parser, loaded at its first use. The file is read asynchronously: the hosted runtime has no synchronous file access
 * once requests are being handled, and the package's own loader uses it.
 */
function parserModule(): Promise<ParserModule> {
  compiled ??= wasmPath()
    .then((path) => readFile(path))
    .then((bytes) => WebAssembly.compile(bytes as unknown as BufferSource))
  loaded ??= compiled.then(instantiate)
  loaded.catch(() => {
    compiled = undefined
    loaded = undefined
  })
  return loaded
}

const instantiate = (module: WebAssembly.Module): Promise<ParserModule> =>
  new Promise((resolve, reject) => {
    const created: Promise<ParserModule> = createModule({
      instantiateWasm(imports: WebAssembly.Imports, receive: (instance: WebAssembly.Instance) => void) {
        WebAssembly.instantiate(module, imports).then(receive, reject)
      },
    })
    created.then(resolve, reject)
  })

const isWellFormed = (text: string): boolean =>
  !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text)

/** The deepest nesting of parentheses and brackets, wherever they stand: those in strings are counted as well. */
function nesting(text: string): number {
  let depth = 0
  let deepest = 0
  for (const character of text) {
    if (character === '(' || character === '[') deepest = Math.max(deepest, ++depth)
    else if (character === ')' || character === ']') depth = Math.max(0, depth - 1)
  }
  return deepest
}

/** What the parser answers: offsets are those of its 32-bit structs `PgQueryParseResult` and `PgQueryError`. */
function parseWith(parser: ParserModule, query: string): { tree: Node } | { message: string; position: number } {
  const size = parser.lengthBytesUTF8(query) + 1
  const text = parser._malloc(size)
  let result = 0
  try {
    parser.stringToUTF8(query, text, size)
    result = parser._wasm_parse_query_raw(text)
    const error = parser.getValue(result + 8, 'i32')
    if (error !== 0) {
      const message = parser.getValue(error, 'i32')
      return {
        message: message === 0 ? 'syntax error' : parser.UTF8ToString(message),
        position: parser.getValue(error + 16, 'i32'),
      }
    }
    return { tree: JSON.parse(parser.UTF8ToString(parser.getValue(result, 'i32'))) as Node }
  } finally {
    parser._free(text)
    if (result !== 0) parser._wasm_free_parse_result(result)
  }
}

/**
 * Parses one SQL statement with PostgreSQL's own grammar.
 * @returns the statement's node, e.g. `{SelectStmt: {...}}`.
 * @throws QueryRefused for text that is empty, too long, nested too deep, malformed, or more than one statement.
 */
export async function parseStatement(query: string): Promise<Node> {
  if (query.length > MAX_QUERY_CHARS) {
    throw new QueryRefused(`The query is longer than ${MAX_QUERY_CHARS} characters.`, 'Ask for less at once.')
  }
  // The parser reads a C string: what follows a NUL would not be looked at.
  if (query.includes('\0') || !isWellFormed(query)) {
    throw new QueryRefused('The query contains characters that no text in the database can have.', 'Remove them.')
  }
  if (nesting(query) > MAX_NESTING) {
    throw new QueryRefused('The query is nested too deep.', 'Write it with fewer parentheses.')
  }
  const parser = await parserModule()
  let answer: ReturnType<typeof parseWith>
  try {
    answer = parseWith(parser, query)
  } catch (cause) {
    // The stack ran out within the parser. It cannot be trusted any more: the next query gets a new one.
    loaded = undefined
    throw new QueryRefused('The query is nested too deep.', 'Write it with fewer conditions and operators.', { cause })
  }
  if ('message' in answer) {
    throw new QueryRefused(
      `This is no valid PostgreSQL: ${answer.message.slice(0, 200)}, at character ${answer.position}.`,
      "Example: select id, title from documents where title ilike '%report%' order by created_at desc limit 20",
    )
  }
  const statements = answer.tree['stmts']
  if (!Array.isArray(statements) || statements.length !== 1) {
    throw new QueryRefused(
      Array.isArray(statements) && statements.length > 1 ? 'Only one statement can be run.' : 'The query is empty.',
      'Send one SELECT, without a semicolon after it.',
    )
  }
  return (statements[0] as { stmt: Node }).stmt
}
