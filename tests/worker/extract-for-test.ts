/** Reads the document named on the command line until it is killed: the parent in a test about orphans. */
import { open } from 'node:fs/promises'
import { DEFAULT_LIMITS } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { extractInChild } from '../../worker/extract/extract.ts'

const file = await open(process.argv[2] as string, 'r')
for await (const event of extractInChild(file, '.pdf', DEFAULT_LIMITS)) console.log(event.type)
