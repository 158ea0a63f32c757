import { Hono } from 'hono'
import type { Context } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import type { Db } from '../../_shared/context.ts'
import { AppError, fromPostgrest, missing, unwrap } from '../../_shared/errors.ts'
import { jsonObject, parse, parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { checkToolDefinition } from '../../_shared/tools/custom-definition.ts'
import type { CheckedTool } from '../../_shared/tools/custom-definition.ts'
import { BUILTIN_TOOLS } from '../builtin-tools.ts'
import type { ApiEnv } from '../env.ts'
import { outboundUrl } from '../outbound-url.ts'
import { written } from '../rows.ts'
import { headerChange, maskedHeaders, sealedColumns, secretHeaders } from '../secret-headers.ts'

const REQUIRED = 'name, description, type, and input_schema are required'

/** `config` of a tool as requests give it; `checkToolDefinition` checks the rest. */
const toolConfig = z.looseObject({ endpoint: outboundUrl('config.endpoint'), headers: secretHeaders.nullish() })

/** Body of `POST /api/tools`. */
export const toolRequest = z.object({
  name: z.string(REQUIRED).min(1, REQUIRED),
  description: z.string(REQUIRED).trim().min(1, REQUIRED),
  type: z
    .string(REQUIRED)
    .min(1, REQUIRED)
    .regex(/^[A-Za-z0-9_-]{1,50}$/, 'type may hold 1 to 50 letters, digits, _ and -'),
  input_schema: z.record(z.string(), z.unknown(), REQUIRED),
  config: jsonObject.nullish(),
  /** These three stand in `config`; older documents of the agent API have them here. */
  endpoint_url: outboundUrl('endpoint_url').nullish(),
  method: z.string().max(20).nullish(),
  headers: secretHeaders.nullish(),
})
/** Body of `PUT /api/tools/{id}`; what is absent stays. */
export const toolPatch = toolRequest.omit({ type: true, endpoint_url: true, method: true, headers: true }).partial()

/** `config` is no column that callers may select: `readConfigs` gives it to those who may change the tool. */
const COLUMNS = 'id,tenant_id,name,description,type,input_schema,header_names,created_at'

type ToolRow = {
  id: string
  tenant_id: string
  name: string
  description: string
  type: string
  input_schema: Record<string, unknown>
  header_names: string[]
  created_at: string
}

/** What a tool is set up with; undefined where the caller may not know it. */
type ToolConfig = Record<string, unknown> | undefined

const NOT_ALLOWED = 'Only admins can create and change tools: what they are sent leaves the tenant.'

/** A tool as clients see it: the values of its headers are for the endpoint only, and what it is set up with for admins. */
const present = ({ tenant_id: _tenant, header_names, created_at: _at, ...row }: ToolRow, config: ToolConfig) => ({
  ...row,
  config: config === undefined ? {} : { ...config, headers: maskedHeaders(header_names) },
})

const ignored = (checked: CheckedTool) =>
  checked.ignored
    .slice(0, 20)
    .map((key) => `The key ${JSON.stringify(key.slice(0, 60))} of config is not known here and was not stored.`)

/** Checks a definition; header values are kept apart, so that masked ones can stand for what is stored. */
function check(definition: { name: string; description: string; input_schema: unknown; config: unknown }): CheckedTool {
  const { config } = parse(z.object({ config: toolConfig }), { config: definition.config ?? {} })
  return checkToolDefinition({ ...definition, config })
}

/** The `config` of a request, with what is only named beside it; `warnings` name what is named in both places. */
function configOf({ config, endpoint_url, method, headers }: z.output<typeof toolRequest>) {
  const beside = Object.entries({ endpoint: endpoint_url, method, headers }).filter(([, value]) => value != null)
  const twice = beside.map(([key]) => key).filter((key) => Object.hasOwn(config ?? {}, key))
  const warnings = twice.map((key) => `config.${key} is used, and the one beside config ignored.`)
  return { config: { ...Object.fromEntries(beside), ...config }, warnings }
}

/** What tools are set up with, by their id: as far as the caller may change them. */
async function readConfigs(db: Db, ids: string[]): Promise<Map<string, ToolConfig>> {
  if (ids.length === 0) return new Map()
  const rows = unwrap<{ tool_id: string; config: ToolConfig }[]>(
    await db.schema('ai').rpc('tool_configs', { tool_ids: ids }),
  )
  return new Map(rows.map(({ tool_id, config }) => [tool_id, config]))
}

async function findTool(db: Db, id: string): Promise<ToolRow> {
  const { data, error } = await db.schema('ai').from('tools').select(COLUMNS).eq('id', id).maybeSingle<ToolRow>()
  if (error) throw fromPostgrest(error)
  if (data === null) throw missing('tool')
  return data
}

/** Gives a new row its headers. Where that fails, the row goes: a tool without the headers it was given would be another one. */
async function giveHeaders(
  c: Context<ApiEnv>,
  row: ToolRow,
  headers: Record<string, string>,
  url: string,
): Promise<ToolRow> {
  const table = () => c.var.db.schema('ai').from('tools')
  try {
    const context = { tenantId: row.tenant_id, kind: 'tool' as const, id: row.id, url }
    const columns = await sealedColumns(c.var.deps.secrets, headers, context)
    const rows = unwrap<ToolRow[]>(await table().update(columns).eq('id', row.id).select(COLUMNS).returns<ToolRow[]>())
    if (rows[0]) return rows[0]
    throw missing('tool')
  } catch (error) {
    await table().delete().eq('id', row.id)
    throw error
  }
}

/** Tools of a tenant: HTTP endpoints that agents may be given. The built-in ones are listed with them. */
export const tools = new Hono<ApiEnv>()
  .get('/', actsOn(), async (c) => {
    const rows = unwrap<ToolRow[]>(
      await c.var.db.schema('ai').from('tools').select(COLUMNS).order('created_at').order('id').returns<ToolRow[]>(),
    )
    const configs = await readConfigs(
      c.var.db,
      rows.map(({ id }) => id),
    )
    const builtins = BUILTIN_TOOLS.map(({ name, description, inputSchema }) => ({
      id: null,
      name,
      description,
      type: 'builtin',
      input_schema: inputSchema,
      config: {},
      created_at: null,
    }))
    const custom = rows.map((row) => ({ ...present(row, configs.get(row.id)), created_at: row.created_at }))
    return c.json({ tools: [...builtins, ...custom] })
  })
  .post('/', actsOn(), async (c) => {
    const checkedOf = (tool: z.output<typeof toolRequest>) => check({ ...tool, config: configOf(tool).config })
    const { body, warnings } = await parseLenientBody(c, toolRequest, (tool) => [
      ...configOf(tool).warnings,
      ...ignored(checkedOf(tool)),
    ])
    const checked = checkedOf(body)
    const headers = headerChange(checked.headers, []) ?? {}
    const { name, description, type, input_schema } = body
    const row = written<ToolRow>(
      await c.var.db
        .schema('ai')
        .from('tools')
        .insert({ name, description, type, input_schema, config: checked.config })
        .select(COLUMNS)
        .single<ToolRow>(),
      { forbidden: NOT_ALLOWED },
    )
    const stored = Object.keys(headers).length === 0 ? row : await giveHeaders(c, row, headers, checked.config.endpoint)
    const shown = present(stored, checked.config)
    return c.json({ ...shown, created_at: stored.created_at, ...warningsField(warnings) }, 201)
  })
  .get('/:id', actsOn('tool'), async (c) => {
    const tool = await findTool(c.var.db, uuidParam(c, 'id', 'tool'))
    return c.json(present(tool, (await readConfigs(c.var.db, [tool.id])).get(tool.id)))
  })
  .put('/:id', actsOn('tool'), async (c) => {
    const { db, deps } = c.var
    const tool = await findTool(db, uuidParam(c, 'id', 'tool'))
    const config = (await readConfigs(db, [tool.id])).get(tool.id)
    if (config === undefined) throw new AppError('forbidden', NOT_ALLOWED)
    const checkedOf = (patch: z.output<typeof toolPatch>) =>
      check({
        name: patch.name ?? tool.name,
        description: patch.description ?? tool.description,
        input_schema: patch.input_schema ?? tool.input_schema,
        config: patch.config ?? config,
      })
    const { body, warnings } = await parseLenientBody(c, toolPatch, (patch) => ignored(checkedOf(patch)))
    const checked = checkedOf(body)
    const headers = headerChange(checked.headers ?? (body.config?.['headers'] ? {} : undefined), tool.header_names)
    const { endpoint } = checked.config
    const context = { tenantId: tool.tenant_id, kind: 'tool' as const, id: tool.id, url: endpoint }
    const [row] = unwrap<ToolRow[]>(
      await db
        .schema('ai')
        .from('tools')
        .update({
          ...(body.name === undefined ? {} : { name: body.name }),
          ...(body.description === undefined ? {} : { description: body.description }),
          input_schema: checked.input_schema,
          config: checked.config,
          ...(headers === undefined ? {} : await sealedColumns(deps.secrets, headers, context)),
        })
        .eq('id', tool.id)
        .select(COLUMNS)
        .returns<ToolRow[]>(),
    )
    if (!row) throw new AppError('forbidden', NOT_ALLOWED)
    if (headers === undefined && row.header_names.length < tool.header_names.length) {
      warnings.push('The headers were removed: they were given for another host. Send them again.')
    }
    return c.json({ id: row.id, name: row.name, ...warningsField(warnings) })
  })
  .delete('/:id', actsOn('tool'), async (c) => {
    const tool = await findTool(c.var.db, uuidParam(c, 'id', 'tool'))
    const deleted = unwrap<unknown[]>(await c.var.db.schema('ai').from('tools').delete().eq('id', tool.id).select('id'))
    if (deleted.length === 0) throw new AppError('forbidden', NOT_ALLOWED)
    return c.json({ deleted: true })
  })
