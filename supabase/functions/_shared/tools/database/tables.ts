import { QueryRefused } from './refusal.ts'

/** A table that an assignment's `config_override.schemas` allows. */
export type AllowedTable = { readonly schema: string; readonly name: string }

/** What is known about an allowed table. Where nothing is known, everything but joins works. */
export type TableDescription = AllowedTable & {
  /** Columns the caller may select, in their order. */
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  /** Columns of the primary key and of every unique constraint. */
  readonly keys: readonly (readonly string[])[]
  readonly foreignKeys: readonly ForeignKey[]
}

/** A foreign key: `columns[i]` holds the value of `referencedColumns[i]` of the table it points at. */
export type ForeignKey = {
  /** Name of the constraint. */
  readonly name: string
  readonly columns: readonly string[]
  readonly schema: string
  readonly table: string
  readonly referencedColumns: readonly string[]
}

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,63}$/

/** Schemas whose tables no assignment may name: the platform's, and ours, which has its own API. */
const REFUSED_SCHEMAS = new Set(
  (
    'ai auth storage private pgboss information_schema realtime _realtime vault extensions graphql graphql_public ' +
    'supabase_functions supabase_migrations supabase_vault net cron pgsodium pgsodium_masks pgbouncer'
  ).split(' '),
)

/** Columns every table has: where a row lies and which transactions touched it. */
const SYSTEM_COLUMNS = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid', 'oid'])

/** Whether `name` may name a schema, table, column or alias. Nothing it allows has a meaning in a URL or in SQL. */
export const isName = (name: unknown): name is string => typeof name === 'string' && NAME.test(name)

const isColumn = (name: string): boolean => isName(name) && !SYSTEM_COLUMNS.has(name.toLowerCase())

/**
 * Checks a name the model wrote.
 * @throws QueryRefused for names with other characters, and for system columns.
 */
export function checkedColumn(name: string): string {
  if (!isName(name)) {
    throw new QueryRefused(
      'Names may have letters, digits and underscores only, and at most 64 of them.',
      'Example: select due_date from invoices',
    )
  }
  if (SYSTEM_COLUMNS.has(name.toLowerCase())) {
    throw new QueryRefused(`The system column ${name} cannot be used.`, 'Name the columns of the table itself.')
  }
  return name
}

/** What is wrong with `schemas: {schema: [table, ...]}` as an administrator wrote it, and the tables that are left. */
export type AllowList = { tables: AllowedTable[]; problems: string[] }

const isRefusedSchema = (schema: string): boolean => REFUSED_SCHEMAS.has(schema.toLowerCase()) || /^pg_/i.test(schema)

/**
 * Reads the allow-list of a database tool from its assignment's `config_override`. Without a table the tool must not be
 * given to the model: `problems` then says why, for the run's warnings.
 */
export function readAllowList(configOverride: unknown): AllowList {
  const schemas = (configOverride as { schemas?: unknown } | null)?.schemas
  if (typeof schemas !== 'object' || schemas === null || Array.isArray(schemas)) {
    return { tables: [], problems: ['config_override.schemas must name the tables: {"public": ["documents"]}.'] }
  }
  const tables: AllowedTable[] = []
  const problems: string[] = []
  for (const [schema, names] of Object.entries(schemas)) {
    if (!isName(schema) || !Array.isArray(names)) {
      problems.push('config_override.schemas must map names of schemas to lists of tables.')
    } else if (isRefusedSchema(schema)) {
      problems.push(`Tables of the schema ${schema} cannot be used by agents.`)
    } else {
      for (const name of names) {
        if (!isName(name))
          problems.push(`A table of the schema ${schema} has a name with other characters than a-z, 0-9, _.`)
        else if (!tables.some((table) => table.schema === schema && table.name === name)) tables.push({ schema, name })
      }
    }
  }
  if (tables.length === 0 && problems.length === 0) problems.push('config_override.schemas names no table.')
  return { tables, problems }
}

const fullName = (table: AllowedTable): string =>
  table.schema === 'public' ? table.name : `${table.schema}.${table.name}`

/** Names of the tables, as the model should write them. */
export const listTables = (tables: readonly AllowedTable[]): string => tables.map(fullName).join(', ')

/**
 * The allowed table a query names; without a schema `public` comes first, then the only other one of that name.
 * @throws QueryRefused for every other table, existing or not.
 */
export function findTable(tables: readonly AllowedTable[], schema: string | undefined, name: string): AllowedTable {
  const found =
    schema === undefined
      ? (tables.find((table) => table.schema === 'public' && table.name === name) ??
        onlyOne(tables.filter((table) => table.name === name)))
      : tables.find((table) => table.schema === schema && table.name === name)
  if (!found) throw new QueryRefused('This table is not available.', `Available tables: ${listTables(tables)}.`)
  return found
}

const onlyOne = <T>(items: T[]): T | undefined => (items.length === 1 ? items[0] : undefined)

/** The description of a table, if there is one. */
export const describedAs = (
  descriptions: readonly TableDescription[],
  table: AllowedTable,
): TableDescription | undefined =>
  descriptions.find((description) => description.schema === table.schema && description.name === table.name)

/** Descriptions without what has a name that no query can use. */
export const usable = (descriptions: readonly TableDescription[]): TableDescription[] =>
  descriptions.map((table) => ({
    ...table,
    columns: table.columns.filter(({ name }) => isColumn(name)),
    foreignKeys: table.foreignKeys.filter((key) => [key.name, ...key.columns, ...key.referencedColumns].every(isName)),
  }))

/** Columns shown of one table in a tool's description. */
const COLUMNS_SHOWN = 60

/** The allowed tables for a tool's description, one line each, with columns and foreign keys where they are known. */
export function describeTables(tables: readonly AllowedTable[], descriptions: readonly TableDescription[]): string {
  const lines = tables.map((table) => {
    const description = describedAs(descriptions, table)
    if (!description) return `- ${fullName(table)}`
    const columns = description.columns.slice(0, COLUMNS_SHOWN).map((column) => `${column.name} ${column.type}`)
    const references = description.foreignKeys
      .filter((key) => tables.some((other) => other.schema === key.schema && other.name === key.table))
      .map((key) => {
        const target = fullName({ schema: key.schema, name: key.table })
        return `; (${key.columns.join(', ')}) references ${target} (${key.referencedColumns.join(', ')})`
      })
    return `- ${fullName(table)} (${columns.join(', ')})${references.join('')}`
  })
  return lines.join('\n')
}
