import type { SupabaseClient } from '@supabase/supabase-js'
import { expect } from 'vitest'
import { eventually } from '../../support/eventually.ts'
import type { TestStack } from '../../support/stack.ts'

export const HARBOR = '11111111-1111-4111-8111-111111111111'
export const MERIDIAN = '22222222-2222-4222-8222-222222222222'
export const ABSENT = '99999999-9999-4999-8999-999999999999'

/** Parsed JSON. Tests read fields as clients do, so a missing one fails where it is read. */
export type Json = Record<string, any>

/** What a test sends: JSON, or a body as it is. */
export type Sent = { json?: unknown; body?: BodyInit; headers?: Record<string, string> }

/** A caller of the functions: fixed headers, one method for everything. */
export type FunctionsCaller = {
  headers: Record<string, string>
  send: (method: string, path: string, sent?: Sent) => Promise<Response>
  /** Sends, asserts the status, gives the JSON. */
  json: (status: number, method: string, path: string, sent?: Sent) => Promise<Json>
}

/** A caller with these headers. @param stack whose functions run. */
export function caller(stack: TestStack, headers: Record<string, string>): FunctionsCaller {
  const send: FunctionsCaller['send'] = (method, path, { json, body, headers: more } = {}) =>
    fetch(`${stack.url}/functions/v1${path}`, {
      method,
      headers: { ...headers, ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...more },
      ...(json === undefined ? (body === undefined ? {} : { body }) : { body: JSON.stringify(json) }),
    })
  return {
    headers,
    send,
    async json(status, method, path, sent) {
      const response = await send(method, path, sent)
      const text = await response.text()
      expect(response.status, `${method} ${path}: ${text.slice(0, 500)}`).toBe(status)
      return JSON.parse(text === '' ? '{}' : text)
    },
  }
}

/** A seeded user as a caller. */
export async function userCaller(
  stack: TestStack,
  email: string,
  more: Record<string, string> = {},
): Promise<FunctionsCaller> {
  const token = await tokenOf(await stack.signIn(email))
  return caller(stack, { apikey: stack.keys.publishable, authorization: `Bearer ${token}`, ...more })
}

/** The holder of the secret key as a caller. */
export function serviceCaller(stack: TestStack, more: Record<string, string> = {}): FunctionsCaller {
  return caller(stack, { apikey: stack.keys.secret, authorization: `Bearer ${stack.keys.secret}`, ...more })
}

/** The access token of a signed-in client. */
export async function tokenOf(client: SupabaseClient): Promise<string> {
  const { data } = await client.auth.getSession()
  if (!data.session) throw new Error('Nobody is signed in.')
  return data.session.access_token
}

/** A multipart body with one file. */
export function fileForm(
  name: string,
  content: string | Uint8Array<ArrayBuffer>,
  fields: Record<string, string> = {},
): FormData {
  const form = new FormData()
  form.append('file', new File([content], name))
  for (const [key, value] of Object.entries(fields)) form.append(key, value)
  return form
}

/** Uploads through the function `sources` and waits until the source is searchable in all its knowledge bases. */
export async function uploadAndIndex(
  user: FunctionsCaller,
  name: string,
  text: string,
  fields: Record<string, string> = {},
): Promise<Json> {
  const source = await user.json(201, 'POST', '/sources', { body: fileForm(name, text, fields) })
  return eventually(async () => {
    const now = await user.json(200, 'GET', `/sources/${source['id']}`)
    expect(now['extraction_status'], now['error_message'] ?? '').toBe('extracted')
    expect(now['indexing'].map((entry: { index_status: string }) => entry.index_status)).not.toContain('pending')
    expect(now['indexing'].every((entry: { index_status: string }) => entry.index_status === 'indexed')).toBe(true)
    return now
  }, 20_000)
}

/** The events of a response, read as the documented clients do: lines that begin with `data: `, cut after 6 characters. */
export async function eventsOf(response: Response): Promise<Json[]> {
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
  const text = await response.text()
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)))
}

/** The one event of this kind. */
export function only(events: Json[], kind: string): Json {
  const found = events.filter((event) => event['event'] === kind)
  expect(found, `one ${kind} among ${events.map((event) => event['event']).join(' ')}`).toHaveLength(1)
  return found[0] ?? {}
}

/** The answer as its deltas give it. */
export const deltasOf = (events: Json[]): string =>
  events.map((event) => (event['event'] === 'content_delta' ? event['delta'] : '')).join('')
