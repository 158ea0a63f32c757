import { readFileSync, readdirSync } from 'node:fs'
import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { describe, expect, it } from 'vitest'
import {
  AppError,
  ERROR_STATUS,
  fromPostgrest,
  missing,
  onError,
  toAppError,
} from '../../supabase/functions/_shared/errors.ts'

describe('fromPostgrest', () => {
  it('takes code, sentence, hint and extra fields from our own SQL', () => {
    const error = fromPostgrest({
      code: 'PT409',
      message: 'These bytes have been uploaded already.',
      details: '{"code":"duplicate_source","duplicate":{"id":"x"}}',
      hint: 'Use the source named in duplicate.',
    })
    expect(error).toMatchObject({
      code: 'duplicate_source',
      status: 409,
      message: 'These bytes have been uploaded already.',
      hint: 'Use the source named in duplicate.',
      extra: { duplicate: { id: 'x' } },
    })
  })

  it.each([
    ['PT404', 'not_found'],
    ['PT403', 'forbidden'],
    ['PT400', 'invalid_request'],
    ['PT499', 'internal'],
  ])('gives %s without a known code the one of its status', (code, expected) => {
    expect(fromPostgrest({ code, message: 'm', details: '{"code":"nobody_knows"}', hint: '' }).code).toBe(expected)
    expect(fromPostgrest({ code, message: 'm', details: 'not json', hint: '' }).code).toBe(expected)
  })

  it.each([
    ['42501', 'forbidden'],
    ['PGRST116', 'not_found'],
    ['23505', 'conflict'],
    ['22P02', 'invalid_request'],
    ['PGRST301', 'unauthenticated'],
    ['57014', 'upstream_timeout'],
  ])('maps %s to %s without repeating what the database said', (code, expected) => {
    const secret = 'Key (tenant_id)=(22222222) in relation "secret_table"'
    const error = fromPostgrest({ code, message: secret, details: secret, hint: secret })
    expect(error.code).toBe(expected)
    expect(error.message).not.toContain('secret_table')
    expect(error.hint).toBeNull()
  })

  it('hides everything it does not know', () => {
    const error = fromPostgrest({ code: 'XX000', message: 'stack at /var/lib', details: 'secret', hint: 'secret' })
    expect(error).toMatchObject({ code: 'internal', message: 'Something went wrong.', hint: null, extra: {} })
  })

  it('knows a connection that failed', () => {
    expect(fromPostgrest({ code: '', message: 'TypeError: fetch failed' }).code).toBe('unavailable')
  })
})

describe('the envelope', () => {
  const app = new Hono<{ Variables: { requestId: string } }>()
  app.onError(onError)
  app.use(async (c, next) => {
    c.set('requestId', 'req-1')
    await next()
  })
  app.get('/known', () => {
    throw new AppError('duplicate_source', 'Twice.', {
      extra: { duplicate: { id: 1 }, error: 'no', code: 'no' },
      hint: 'Do this.',
    })
  })
  app.get('/unknown', () => {
    throw new Error('password=hunter2')
  })
  app.get('/framework', () => {
    throw new HTTPException(400, { message: 'Malformed JSON in request body' })
  })

  it('is a string, a code and a request id, with extra fields beside them', async () => {
    const response = await app.request('/known')
    expect(response.status).toBe(409)
    expect(await response.json()).toEqual({
      error: 'Twice.',
      code: 'duplicate_source',
      hint: 'Do this.',
      request_id: 'req-1',
      duplicate: { id: 1 },
    })
  })

  it('tells nothing about what nobody expected', async () => {
    const response = await app.request('/unknown')
    expect(response.status).toBe(500)
    expect(await response.text()).toBe('{"error":"Something went wrong.","code":"internal","request_id":"req-1"}')
  })

  it('wraps the framework’s own errors', async () => {
    expect(await (await app.request('/framework')).json()).toMatchObject({
      code: 'invalid_request',
      request_id: 'req-1',
    })
    expect(toAppError(new HTTPException(503)).code).toBe('internal')
  })

  it('is the same for absent and for hidden things', () => {
    expect(missing('source')).toMatchObject({ code: 'not_found', message: 'Source not found' })
    expect(missing('agent')).toMatchObject({ code: 'agent_not_found', message: 'Agent not found' })
  })
})

describe('the catalogue', () => {
  it('holds every code that the migrations raise, with the same status', () => {
    const folder = new URL('../../supabase/migrations/', import.meta.url)
    const sql = readdirSync(folder)
      .map((file) => readFileSync(new URL(file, folder), 'utf8'))
      .join('\n')
    const raised = [...sql.matchAll(/raise_error\(\s*(\d{3}),\s*'([a-z_]+)'/g)]
    expect(raised.length).toBeGreaterThan(10)
    for (const [, status, code] of raised) {
      expect(ERROR_STATUS, `code ${code}`).toHaveProperty(String(code), Number(status))
    }
  })

  it('is explained in docs/errors.md, code by code', () => {
    const document = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
    const unexplained = Object.keys(ERROR_STATUS).filter((code) => !document.includes(`\`${code}\``))
    expect(unexplained).toEqual([])
  })
})
