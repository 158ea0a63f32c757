import { z } from 'zod'
import type { ErrorCode } from '../_shared/errors.ts'

/** A route as the OpenAPI document describes it. */
export type DocumentedRoute = {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** Below `/api`, with parameters in braces. */
  path: string
  tag: string
  summary: string
  isPublic?: boolean
  /** Query parameters, all optional. */
  query?: Record<string, z.ZodType>
  /** JSON body, or the fields of a form with a file. */
  body?: z.ZodType | 'upload'
  isBodyOptional?: boolean
  status: number
  /** JSON answer; `bytes`, `events` (SSE) or null (no body). */
  answer: z.ZodType | 'bytes' | 'events' | null
  /** JSON answer with 202, when what was asked for is done later. */
  accepted?: z.ZodType
  /** Codes beside those every route can answer: unauthenticated, forbidden, tenant_required, internal, unavailable. */
  errors?: ErrorCode[]
  /** Statuses of codes that have another one here than everywhere else. */
  statuses?: Partial<Record<ErrorCode, number>>
}

type Details = Pick<
  DocumentedRoute,
  'query' | 'body' | 'isBodyOptional' | 'accepted' | 'errors' | 'statuses' | 'isPublic'
>

/** Makes the entries of one tag. */
export const route =
  (tag: string) =>
  (
    method: DocumentedRoute['method'],
    path: string,
    summary: string,
    status: number,
    answer: DocumentedRoute['answer'],
    details: Details = {},
  ): DocumentedRoute => ({ tag, method, path, summary, status, answer, ...details })

/** An answer with these fields. */
export const fields = (shape: z.core.$ZodLooseShape) => z.object(shape)
/** What deleting answers. */
export const deleted = fields({ deleted: z.literal(true) })
/** An answer that is a sentence. */
export const said = fields({ message: z.string() })

/** Query of a list. */
export const page = { limit: z.int(), offset: z.int() }
/** Query of a list that can be searched and sorted. */
export const list = (...sortKeys: string[]) => ({
  ...page,
  q: z.string().max(200).describe('Part of the name, in any case.'),
  sort: z.enum(sortKeys as [string, ...string[]]),
  order: z.enum(['asc', 'desc']),
})

/** Codes for what an id does not name. */
export const AGENT: ErrorCode[] = ['agent_not_found']
export const THING: ErrorCode[] = ['not_found']
/** These codes and the one of a malformed request. */
export const bad = (codes: ErrorCode[]): ErrorCode[] => ['invalid_request', ...codes]
