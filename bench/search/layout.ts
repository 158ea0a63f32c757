import { stream, type Random, shuffle, uuidOf, weightedIndex, weightedSample } from './random.ts'

/** L: the one tenant with a fifth of the rows; M: the fifteen with 2% each; S: the 340 small ones; else background. */
export type TenantClass = 'L' | 'M' | 'S' | 'background'
export const CLASSES = ['L', 'M', 'S'] as const
export type QueryClass = (typeof CLASSES)[number]

export type Tenant = {
  index: number
  class: TenantClass
  id: string
  /** Its one member. */
  userId: string
  size: number
  knowledgeBaseIds: string[]
  /** Topics its sources are about, the likeliest first. */
  topics: number[]
}

/** A document: `size` chunks, whose row numbers follow one another from `firstRow`. */
export type Source = {
  index: number
  id: string
  tenant: number
  knowledgeBase: number
  topic: number
  /** Whether it has a code of its own that about half of its chunks carry. */
  ownsCode: boolean
  firstRow: number
  size: number
}

/** Entry of a list that is known to be there. @throws where it is not */
export function at<T>(list: readonly T[], index: number): T {
  const entry = list[index]
  if (entry === undefined) throw new Error(`There is no entry ${index} in a list of ${list.length}.`)
  return entry
}

export type Layout = { tenants: Tenant[]; sources: Source[]; topicCount: number }

const SHARES: { class: TenantClass; count: number; share: number }[] = [
  { class: 'L', count: 1, share: 0.2 },
  { class: 'background', count: 3, share: 0.06 },
  { class: 'M', count: 15, share: 0.02 },
  { class: 'background', count: 60, share: 0.0025 },
]
const SMALL_TENANTS = 340
const MIN_TENANT_ROWS = 5
const CHUNKS_PER_SOURCE = { min: 4, max: 39 }

export const topicCountOf = (rows: number): number => (rows <= 200_000 ? 300 : 900)

/** Who has how many rows, in which knowledge bases and sources, in which order they arrive. */
export function makeLayout(rows: number, seed: number): Layout {
  const topicCount = topicCountOf(rows)
  const popularity = Float64Array.from({ length: topicCount }, (_, rank) => (rank + 1) ** -0.6)
  const tenants = tenantSizes(rows).map(({ class: tenantClass, size }, index): Tenant => {
    const bases = clip(Math.floor(Math.log2(size / 20 + 2)), 1, 8)
    const topics = clip(Math.floor(size / 40), 6, Math.floor(0.6 * topicCount))
    return {
      index,
      class: tenantClass,
      id: uuidOf('tenant', index),
      userId: uuidOf('user', index),
      size,
      knowledgeBaseIds: Array.from({ length: bases }, (_, base) => uuidOf('knowledge base', index * 8 + base)),
      topics: weightedSample(stream(seed, 'tenant topics', index), popularity, topics),
    }
  })
  const sources = tenants.flatMap((tenant) => sourcesOf(tenant, tenant.size, stream(seed, 'sources', tenant.index)))
  return { tenants, sources: inOrderOfArrival(sources, 0, seed), topicCount }
}

/** Further sources of about `rows` chunks, spread over the tenants as the first ones were: what arrives later. */
export function makeArrivals(layout: Layout, rows: number, seed: number): Source[] {
  const random = stream(seed, 'arrivals')
  const tenantOf = weightedIndex(layout.tenants.map((tenant) => tenant.size))
  const sources: Source[] = []
  for (let count = 0; count < rows; ) {
    const [source] = sourcesOf(layout.tenants[tenantOf(random)] as Tenant, CHUNKS_PER_SOURCE.max, random) as [Source]
    source.size = Math.min(source.size, rows - count)
    count += source.size
    sources.push(source)
  }
  const last = layout.sources.at(-1) as Source
  let firstRow = last.firstRow + last.size
  return sources.map((source, i) => {
    const index = layout.sources.length + i
    const arrival = { ...source, index, id: uuidOf('source', index), firstRow }
    firstRow += source.size
    return arrival
  })
}

function tenantSizes(rows: number): { class: TenantClass; size: number }[] {
  const weights = Array.from({ length: SMALL_TENANTS }, (_, i) => (i + 3) ** -0.8)
  const weightSum = weights.reduce((sum, weight) => sum + weight, 0)
  const rest = 1 - SHARES.reduce((sum, { count, share }) => sum + count * share, 0)
  const shares = [
    ...SHARES.flatMap(({ class: tenantClass, count, share }) =>
      Array<[TenantClass, number]>(count).fill([tenantClass, share]),
    ),
    ...weights.map((weight): [TenantClass, number] => ['S', (rest * weight) / weightSum]),
  ]
  const sizes = shares.map(([, share]) => Math.max(MIN_TENANT_ROWS, Math.floor(rows * share)))
  const given = sizes.reduce((sum, size) => sum + size, 0)
  sizes[0] = (sizes[0] as number) + rows - given
  if (sizes[0] < MIN_TENANT_ROWS) throw new Error(`${rows} rows are too few for ${sizes.length} tenants.`)
  return shares.map(([tenantClass], index) => ({ class: tenantClass, size: sizes[index] as number }))
}

function sourcesOf(tenant: Tenant, rows: number, random: Random): Source[] {
  const knowledgeBase = weightedIndex(tenant.knowledgeBaseIds.map((_, rank) => 1 / (rank + 1)))
  const sources: Source[] = []
  for (let count = 0; count < rows; ) {
    const { min, max } = CHUNKS_PER_SOURCE
    const size = Math.min(min + Math.floor(random() * (max - min + 1)), rows - count)
    count += size
    sources.push({
      index: 0,
      id: '',
      tenant: tenant.index,
      knowledgeBase: knowledgeBase(random),
      topic: tenant.topics[Math.floor(tenant.topics.length * random() ** 1.5)] as number,
      ownsCode: random() < 0.5,
      firstRow: 0,
      size,
    })
  }
  return sources
}

/** Tenants' sources arrive mixed with one another, as they would over time. */
function inOrderOfArrival(sources: Source[], from: number, seed: number): Source[] {
  let firstRow = from
  return shuffle(stream(seed, 'arrival order'), sources).map((source, index) => {
    const arrived = { ...source, index, id: uuidOf('source', index), firstRow }
    firstRow += source.size
    return arrived
  })
}

const clip = (value: number, min: number, max: number): number => Math.min(Math.max(value, min), max)
