import { createAdaptorServer } from '@hono/node-server'
import { createClient, type RealtimeChannel, type SupabaseClient } from '@supabase/supabase-js'
import { randomUUID } from 'node:crypto'
import type http from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT } from 'jose'
import { fileURLToPath } from 'node:url'
import { WebSocket, type ClientOptions } from 'ws'
import { createApiKeyResolver } from '../../local/auth/api-keys.ts'
import {
  createTokenAuthority,
  generateSigningKey,
  type ResolveApiKey,
  type TokenAuthority,
} from '../../local/auth/tokens.ts'
import { bootstrap } from '../../local/database/bootstrap.ts'
import type { Database, SessionDatabase } from '../../local/database/database.ts'
import { applyMigrations } from '../../local/database/migrations.ts'
import { openNative } from '../../local/database/native.ts'
import { openPglite } from '../../local/database/pglite.ts'
import { LOCAL_KEYS, PUBLISHABLE_KEY } from '../../local/keys.ts'
import { createRealtime, type Realtime, type RealtimeLimits } from '../../local/realtime/realtime.ts'

export { PUBLISHABLE_KEY, SECRET_KEY } from '../../local/keys.ts'

/** What the gateway under test stands on: the platform's schemas in a database of its own. */
export type World = { db: Database; tokens: TokenAuthority; resolveApiKey: ResolveApiKey; close: () => Promise<void> }

/** `schema` 'product' applies the project's migrations; otherwise a chat policy like theirs stands alone. */
export const openWorld = async (schema: 'product' | 'policies' = 'policies'): Promise<World> => {
  const { db, close } = await openDatabase()
  await bootstrap(db)
  if (schema === 'product') await applyMigrations(db, PROJECT)
  else await db.exec(CHAT_POLICY)
  await db.exec(CLUB_POLICIES)
  const tokens = await createTokenAuthority(await generateSigningKey(), LOCAL_KEYS.jwtSecret)
  return { db, tokens, resolveApiKey: createApiKeyResolver(LOCAL_KEYS, tokens), close }
}

const PROJECT = fileURLToPath(new URL('../../supabase', import.meta.url))

/** PGlite in memory, or a new database on the server that DATABASE_URL names. */
const openDatabase = async (): Promise<{ db: SessionDatabase; close: () => Promise<void> }> => {
  const server = process.env['DATABASE_URL']
  if (!server) {
    const db = await openPglite()
    return { db, close: () => db.close() }
  }
  const admin = await openNative({ url: server, poolSize: 1 })
  const name = `realtime_${randomUUID().replaceAll('-', '')}`
  await admin.query(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const db = await openNative({ url: url.href })
  return {
    db,
    close: async () => {
      await db.close()
      await admin.query(`drop database ${name} with (force)`)
      await admin.close()
    },
  }
}

const CHAT_POLICY = `
  create policy "users read their own chat topic" on realtime.messages for select to authenticated
  using ((select realtime.topic()) = 'chat:' || (select auth.uid())::text and messages.extension = 'broadcast');`

/** Topics `club:*`: members read and write broadcasts and presence; what a test needs beyond the product's policies. */
const CLUB_POLICIES = `
  create table public.club_members (topic text, user_id uuid, primary key (topic, user_id));
  alter table public.club_members enable row level security;
  grant select on public.club_members to authenticated;
  create policy "members see themselves" on public.club_members for select to authenticated using (user_id = auth.uid());
  create policy "members read their club" on realtime.messages for select to authenticated using (
    exists (select from public.club_members where club_members.topic = (select realtime.topic())));
  create policy "members write to their club" on realtime.messages for insert to authenticated with check (
    exists (select from public.club_members where club_members.topic = (select realtime.topic())));
  create policy "a policy that raises" on realtime.messages for select to authenticated using (
    case when (select realtime.topic()) = 'raise' then 1 / (length(topic) - 5) = 1 else false end);`

export type Gateway = {
  /** http://127.0.0.1:PORT */
  url: string
  wsUrl: string
  port: number
  realtime: Realtime
  log: { event: string; fields: Record<string, unknown> }[]
  close: () => Promise<void>
}

/** A gateway of its own on a real port, over the database of `world`. `port` 0 chooses a free one. */
export const openGateway = async (world: World, limits: Partial<RealtimeLimits> = {}, port = 0): Promise<Gateway> => {
  const log: Gateway['log'] = []
  const realtime = createRealtime({
    db: world.db,
    tokens: world.tokens,
    resolveApiKey: world.resolveApiKey,
    limits,
    log: { warn: (event, fields) => log.push({ event, fields }) },
  })
  await realtime.ready
  const server = createAdaptorServer({ fetch: realtime.fetch }) as http.Server
  realtime.attach(server)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const bound = (server.address() as AddressInfo).port
  return {
    url: `http://127.0.0.1:${bound}`,
    wsUrl: `ws://127.0.0.1:${bound}`,
    port: bound,
    realtime,
    log,
    close: async () => {
      await realtime.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A signed-in user's ES256 token. `exp` in seconds since the epoch. */
export const userToken = (world: World, sub: string, claims: Record<string, unknown> = {}): Promise<string> =>
  world.tokens.sign({
    sub,
    role: 'authenticated',
    aud: 'authenticated',
    iat: Math.floor(Date.now() / 1000),
    exp: Math.floor(Date.now() / 1000) + 3600,
    ...claims,
  })

/** A token signed with the shared secret. `exp` in seconds since the epoch or a span like '1h'. */
export const hsToken = (claims: Record<string, unknown>, exp: number | string = '1h'): Promise<string> =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuedAt()
    .setExpirationTime(exp)
    .sign(new TextEncoder().encode(LOCAL_KEYS.jwtSecret))

export const LEGACY_KEYS = { anon: LOCAL_KEYS.anon, service_role: LOCAL_KEYS.serviceRole }

/** Client for a signed-in user, or for the bare key when `token` is null. Already authorized for Realtime. */
export const client = async (
  gateway: Gateway,
  token: string | (() => string) | null,
  key = PUBLISHABLE_KEY,
): Promise<SupabaseClient> => {
  const supabase = createClient(gateway.url, key, {
    ...(token === null ? {} : { accessToken: async () => (typeof token === 'string' ? token : token()) }),
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { heartbeatIntervalMs: 2_000 },
  })
  await supabase.realtime.setAuth()
  return supabase
}

/** Resolves with the first status that `wanted` accepts (by default: the channel opened or was refused). */
export const subscribe = (
  channel: RealtimeChannel,
  wanted: (status: string) => boolean = (status) => status === 'SUBSCRIBED' || status === 'CHANNEL_ERROR',
): Promise<{ status: string; message: string | undefined }> =>
  new Promise((resolve) => {
    channel.subscribe((status, error) => {
      if (wanted(status)) resolve({ status, message: error?.message })
    })
  })

/** Collects what a channel receives of one broadcast event ('*' for all). */
export const collect = (channel: RealtimeChannel, event = '*'): Record<string, any>[] => {
  const received: Record<string, any>[] = []
  channel.on('broadcast', { event }, (message) => received.push(message))
  return received
}

/** Waits until `check` is true, or fails. */
export const until = async (check: () => boolean, what: string, timeoutMs = 5_000): Promise<void> => {
  const deadline = Date.now() + timeoutMs
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not seen in ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Long enough for anything that was going to be delivered to have been. */
export const settle = (ms = 250): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export type Frame = { joinRef?: unknown; ref: unknown; topic: string; event: string; payload: any; binary?: Buffer }

/** A bare WebSocket: sends exactly what it is told and shows exactly what arrives. */
export class RawSocket {
  readonly ws: WebSocket
  readonly frames: Frame[] = []
  readonly closed: Promise<number>
  readonly #vsn: 1 | 2

  private constructor(ws: WebSocket, vsn: 1 | 2) {
    this.ws = ws
    this.#vsn = vsn
    this.closed = new Promise((resolve) => ws.on('close', (code) => resolve(code)))
    ws.on('error', () => undefined)
    ws.on('message', (data, isBinary) => this.frames.push(this.#read(data as Buffer, isBinary)))
  }

  static async open(
    gateway: Gateway,
    { vsn = 2, key = PUBLISHABLE_KEY, ws: options = {} }: { vsn?: 1 | 2; key?: string; ws?: ClientOptions } = {},
  ): Promise<RawSocket> {
    const ws = new WebSocket(
      `${gateway.wsUrl}/realtime/v1/websocket?apikey=${encodeURIComponent(key)}&vsn=${vsn}.0.0`,
      options,
    )
    const raw = new RawSocket(ws, vsn)
    await new Promise<void>((resolve, reject) => ws.once('open', resolve).once('error', reject))
    return raw
  }

  /** Joins a topic (without prefix) and resolves with the reply's payload. */
  async join(topic: string, config: Record<string, unknown> = {}, token?: string, ref = '1'): Promise<any> {
    const payload = { config, ...(token === undefined ? {} : { access_token: token }) }
    this.push(ref, ref, `realtime:${topic}`, 'phx_join', payload)
    const reply = await this.next((frame) => frame.event === 'phx_reply' && frame.ref === ref)
    return reply.payload
  }

  push(joinRef: unknown, ref: unknown, topic: string, event: string, payload: unknown): void {
    this.ws.send(
      JSON.stringify(
        this.#vsn === 2 ? [joinRef, ref, topic, event, payload] : { topic, event, payload, ref, join_ref: joinRef },
      ),
    )
  }

  /** A frame of kind 3. */
  pushBinary(refs: { joinRef?: string; ref?: string }, topic: string, event: string, body: Buffer, options = {}): void {
    const { encoding = 1, meta = '' } = options as { encoding?: number; meta?: string }
    const fields = [refs.joinRef ?? '', refs.ref ?? '', topic, event, meta].map((field) => Buffer.from(field))
    this.ws.send(Buffer.concat([Buffer.from([3, ...fields.map((field) => field.length), encoding]), ...fields, body]))
  }

  /** The first frame, already received or to come, that `wanted` accepts; it is taken out of `frames`. */
  async next(wanted: (frame: Frame) => boolean, timeoutMs = 5_000): Promise<Frame> {
    let at = -1
    await until(
      () => (at = this.frames.findIndex(wanted)) >= 0,
      `a frame among ${JSON.stringify(this.frames)}`,
      timeoutMs,
    )
    return this.frames.splice(at, 1)[0]!
  }

  broadcasts(): Frame[] {
    return this.frames.filter((frame) => frame.event === 'broadcast')
  }

  async close(): Promise<void> {
    this.ws.close()
    await this.closed
  }

  #read(data: Buffer, isBinary: boolean): Frame {
    if (isBinary) {
      const [topicLength = 0, eventLength = 0, metaLength = 0, encoding] = data.subarray(1, 5)
      let offset = 5
      const text = (length: number): string => data.toString('utf8', offset, (offset += length))
      const [topic, event, meta] = [text(topicLength), text(eventLength), text(metaLength)]
      const body = data.subarray(offset)
      return {
        ref: null,
        topic,
        event: 'broadcast',
        binary: data,
        payload: {
          type: 'broadcast',
          event,
          payload: encoding === 1 ? JSON.parse(body.toString()) : body,
          ...(meta === '' ? {} : { meta: JSON.parse(meta) }),
        },
      }
    }
    const json = JSON.parse(data.toString())
    if (this.#vsn === 1) return json
    const [joinRef, ref, topic, event, payload] = json
    return { joinRef, ref, topic, event, payload }
  }
}

/** Ids for two users who have nothing to do with each other. */
export const twoUsers = (): [string, string] => [randomUUID(), randomUUID()]
