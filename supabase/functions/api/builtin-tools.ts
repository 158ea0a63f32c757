import type { ToolDefinition } from '../_shared/providers/index.ts'

/** A JSON Schema of one argument. */
type Property = { type: string | readonly string[]; description: string } & Record<string, unknown>

const text = (description: string): Property => ({ type: 'string', description })
const texts = (description: string): Property => ({ type: 'array', items: { type: 'string' }, description })
const oneOf = (values: readonly string[], description: string): Property => ({
  type: 'string',
  enum: values,
  description,
})

const tool = (
  name: string,
  description: string,
  properties: Record<string, Property>,
  required: readonly string[],
): ToolDefinition => ({ name, description, inputSchema: { type: 'object', properties, required } })

/** Tools whose assignment says which tables they may use. */
export const DATABASE_TOOLS: readonly string[] = ['database_query', 'database_write']

/**
 * The built-in tools as the agent API lists them, whether or not they are configured here: the arguments that an assignment
 * can force. What a run offers a model is made by the tools themselves; a test keeps the names of arguments the same.
 */
export const BUILTIN_TOOLS: readonly ToolDefinition[] = [
  tool(
    'database_query',
    'Reads from the database as the person asking: one SELECT over the tables of its assignment.',
    { query: text('One SELECT statement.') },
    ['query'],
  ),
  tool(
    'database_write',
    'Changes rows as the person asking, in the tables of its assignment.',
    {
      table: text('Name of the table, with its schema if that is not public.'),
      operation: oneOf(['insert', 'update', 'delete'], 'What to do.'),
      data: { type: ['object', 'array'], description: 'Columns and values; a list of them inserts several rows.' },
      where: { type: 'object', description: 'Columns and the values they must have; needed to update and delete.' },
    },
    ['table', 'operation'],
  ),
  tool(
    'http_request',
    'Sends a request to a public address.',
    {
      url: text('Address, http or https.'),
      method: oneOf(['GET', 'POST', 'PUT', 'DELETE'], 'GET if absent.'),
      headers: { type: 'object', description: 'Headers to send.' },
      body: { type: ['string', 'object'], description: 'Body to send.' },
    },
    ['url'],
  ),
  tool(
    'code_execute',
    'Runs code in the configured sandbox.',
    {
      language: oneOf(['python', 'javascript'], 'Language of the code.'),
      code: text('The code.'),
      timeout: { type: 'number', description: 'Seconds it may take, 30 if absent.' },
    },
    ['language', 'code'],
  ),
  tool(
    'storage_read',
    'Lists a bucket or reads a file, as the person asking.',
    {
      operation: oneOf(['list', 'download'], 'What to do.'),
      bucket: text('Name of the bucket.'),
      path: text('Path in the bucket.'),
    },
    ['operation', 'bucket'],
  ),
  tool(
    'storage_write',
    'Writes a text file, as the person asking.',
    {
      bucket: text('Name of the bucket.'),
      path: text('Path in the bucket.'),
      content: text('What to write.'),
      content_type: text('Media type, text/plain if absent.'),
    },
    ['bucket', 'path', 'content'],
  ),
  tool(
    'web_search',
    'Searches the web.',
    {
      query: text('What to search for.'),
      num_results: { type: 'integer', minimum: 1, maximum: 10, description: 'How many results, 5 if absent.' },
      search_type: text('How to search.'),
      include_domains: texts('Only these domains.'),
      exclude_domains: texts('None of these domains.'),
      start_date: text('Nothing older than this day.'),
      end_date: text('Nothing younger than this day.'),
      category: text('Kind of pages.'),
      content_mode: text('How much of each page to give.'),
    },
    ['query'],
  ),
  tool(
    'web_scrape',
    'Reads a public web page.',
    {
      url: text('Address of the page.'),
      formats: texts('Forms of the text, e.g. markdown.'),
      include_images: { type: 'boolean', description: 'Whether to name the images of the page.' },
      only_main_content: { type: 'boolean', description: 'Whether to leave out navigation and the like.' },
      exclude_tags: texts('HTML elements to leave out.'),
      wait_for: { type: 'integer', description: 'Milliseconds to wait for the page.' },
      mobile: { type: 'boolean', description: 'Whether to ask as a phone.' },
    },
    ['url'],
  ),
]

/** The built-in tool of this name. */
export function builtinTool(name: string): ToolDefinition | undefined {
  return BUILTIN_TOOLS.find((builtin) => builtin.name === name)
}
