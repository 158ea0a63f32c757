import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn } from '../../_shared/context.ts'
import { jsonObject, parseBody, uuid } from '../../_shared/http.ts'
import { PRIORITIES } from '../../_shared/priorities.ts'
import { beginUpload, defaultKnowledgeBaseIds } from '../../_shared/sources.ts'
import type { SourcesEnv } from '../env.ts'

/** Body of `POST /sources/uploads`: a file that the client will send straight to storage. */
export const uploadRequest = z.strictObject({
  name: z.string().min(1).max(1000),
  size_bytes: z.number().int().min(1, 'The file is empty.'),
  /** Only checked against the type the extension says; the extension decides. */
  content_type: z.string().max(200).optional(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/i, 'sha256 must be the SHA-256 of the file in 64 hex digits.'),
  visibility: z.enum(['tenant', 'private', 'granted']).optional(),
  metadata: jsonObject.optional(),
  knowledge_base_ids: z.array(uuid).max(20).optional(),
  /** `low`: after what else the tenant has waiting. */
  priority: z.enum(PRIORITIES).optional(),
})

/** Presigned uploads. */
export const uploads = new Hono<SourcesEnv>().post('/', actsOn(), async (c) => {
  const body = await parseBody(c, uploadRequest)
  const { source, upload } = await beginUpload(c.var, {
    fileName: body.name,
    sizeBytes: body.size_bytes,
    sha256: body.sha256.toLowerCase(),
    visibility: body.visibility,
    metadata: body.metadata,
    priority: body.priority,
    knowledgeBaseIds: body.knowledge_base_ids ?? (await defaultKnowledgeBaseIds(c.var.db)),
  })
  return c.json(
    {
      source,
      upload: { url: upload.url, method: upload.method, headers: upload.headers, expires_at: upload.expiresAt },
    },
    201,
  )
})
