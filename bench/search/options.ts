import { parseArgs } from 'node:util'

export type Options = {
  /** Numbers of rows to measure on, in this order. */
  rows: number[]
  /** Where the results go as JSON, besides being printed. */
  json: string | null
  /** How many further tenants get graphs of their own, to see what that costs the others; 0 leaves it out. */
  promoted: number
  seed: number
}

export const USAGE = `usage: npm run bench:search -- [--rows 10k,100k,1M] [--quick] [--promoted 500] [--json FILE] [--seed N]

  --rows      how many rows to measure on, one after another (default 100k)
  --quick     10k and 100k: ends within ten minutes on two cores
  --promoted  then gives so many further tenants a graph of their own and measures one tenant's search before and after
  --json      also writes the results there
  --seed      another corpus (default 1)`

const SIZES: Record<string, number> = { '10k': 10_000, '100k': 100_000, '1m': 1_000_000 }

/** @throws an Error whose message says what is wrong with the arguments */
export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      rows: { type: 'string' },
      quick: { type: 'boolean', default: false },
      promoted: { type: 'string', default: '0' },
      json: { type: 'string' },
      seed: { type: 'string', default: '1' },
    },
  })
  if (values.quick && values.rows) throw new Error('--quick says which rows; leave out one of --quick and --rows.')
  const names = (values.rows ?? (values.quick ? '10k,100k' : '100k')).split(',')
  return {
    rows: names.map((name) => {
      const rows = SIZES[name.trim().toLowerCase()]
      if (!rows) throw new Error(`--rows takes 10k, 100k and 1M, not "${name}".`)
      return rows
    }),
    json: values.json ?? null,
    promoted: wholeNumber('--promoted', values.promoted),
    seed: wholeNumber('--seed', values.seed),
  }
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name} takes a whole number, not "${text}".`)
  return Number(text)
}
