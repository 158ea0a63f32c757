import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { format, resolveConfig } from 'prettier'
import { openApiDocument } from '../supabase/functions/api/openapi.ts'

// Writes docs/openapi.json; tests/functions/api-openapi.test.ts compares it with what the function api serves.
const file = fileURLToPath(new URL('../docs/openapi.json', import.meta.url))
const options = await resolveConfig(file)
writeFileSync(file, await format(JSON.stringify(openApiDocument()), { ...options, filepath: file }))
console.log(`Wrote ${file}`)
