import { z } from 'zod'
import { AGENT_ROUTES } from './openapi-agent-routes.ts'
import { KNOWLEDGE_ROUTES } from './openapi-knowledge-routes.ts'
import { fields, route } from './openapi-route.ts'
import type { DocumentedRoute } from './openapi-route.ts'

const service = route('Service')
const SERVICE: DocumentedRoute[] = [
  service('get', '/health', 'Says that the function runs', 200, fields({ status: z.string(), service: z.string() }), {
    isPublic: true,
  }),
  service('get', '/openapi.json', 'This document', 200, z.looseObject({ openapi: z.string() }), { isPublic: true }),
]

/** Every route of the function `api`; a test compares this with the routes that are mounted. */
export const ROUTES: readonly DocumentedRoute[] = [...SERVICE, ...AGENT_ROUTES, ...KNOWLEDGE_ROUTES]
