import process from 'node:process'
import { parseArgs } from 'node:util'
import { evaluateChunking } from './chunking.ts'
import { evaluateRetrieval } from './retrieval.ts'
import { COLLECTION_NAMES, DATA_FOLDER, hasData } from './support/collections.ts'
import { fallsShort, figure, formatSection, type Evaluation } from './support/section.ts'

// `npm run eval [-- --only name...]`: quality of retrieval and chunking on the judged collections of ../shared/data. Exit
// code 0: every bar is met; 1: some fall short, the last line says which; 2: it could not begin. Add a part of the
// evaluation by adding it to this list.
const EVALUATIONS: Evaluation[] = [
  { names: COLLECTION_NAMES, run: evaluateRetrieval },
  { names: ['chunking'], run: evaluateChunking },
]

const fail = (message: string): never => {
  console.error(message)
  process.exit(2)
}

function readOptions(): string[] | undefined {
  try {
    return parseArgs({ options: { only: { type: 'string', multiple: true } } }).values.only
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

/** The names that are asked for; `xquad` stands for all of its languages. */
function wantedNames(): string[] {
  const known = EVALUATIONS.flatMap(({ names }) => names)
  const only = readOptions()
  if (!only) return known
  return only
    .flatMap((value) => value.split(','))
    .flatMap((wanted) => {
      const matching = known.filter((name) => name === wanted || name.startsWith(`${wanted}-`))
      return matching.length > 0 ? matching : fail(`Unknown: ${wanted}. There are: ${known.join(', ')}.`)
    })
}

const wanted = wantedNames()
if (!hasData()) fail(`The judged collections are not there: ${DATA_FOLDER}. They are not part of this repository.`)

const short: string[] = []
for (const { names, run } of EVALUATIONS) {
  const chosen = names.filter((name) => wanted.includes(name))
  if (chosen.length === 0) continue
  const section = await run(chosen)
  console.log(`${formatSection(section)}\n`)
  for (const bar of section.bars) {
    if (fallsShort(bar)) short.push(`${bar.name} ${figure(bar.measured)} < ${figure(bar.atLeast)}`)
  }
}
console.log(short.length === 0 ? 'Every bar is met.' : `Falls short: ${short.join('; ')}`)
process.exitCode = short.length === 0 ? 0 : 1
