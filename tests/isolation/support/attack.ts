import { auc } from './auc.ts'
import { clear, dropGraph, fill, MODEL, OWN, range } from './fill.ts'
import { onNative, PERSON, type Row, type Run, type World } from './world.ts'

/** Topics that the attacker, a member of A, probes: 200 on a native server, which is what the bar is set for. */
export const PROBES = range(1, onNative ? 200 : 40)

/** Documents of B in a world: 40 at each topic of one half, four times what a probe could show. */
const CLUSTERED = 20 * PROBES.length

const HALVES = [PROBES.filter((topic) => topic % 2 === 0), PROBES.filter((topic) => topic % 2 === 1)] as const

/** What the attacker notes of one probe; `near` is what they want to know: whether B holds documents there. */
export type Note = { near: boolean; measures: Record<string, number> }

/** A holds a little about each of the probed topics, so that the probes have answers. */
export const prepareAttack = async (world: World): Promise<void> => {
  await fill(world, { label: 'own', tenant: 'a', count: OWN, topics: PROBES })
}

/**
 * Probes every topic in two worlds: in one B holds clusters of documents at one half of the topics, in the other at the other
 * half. So each topic is noted once as near and once as far, and what A's own documents look like there tells nothing.
 * @param probe measures one topic, any number of things by name
 * @param settle done after B's documents have changed
 */
export async function attack(
  world: World,
  probe: (topic: number) => Promise<Record<string, number>>,
  settle: () => Promise<void> = async () => {},
): Promise<Note[]> {
  const notes: Note[] = []
  for (const [number, topics] of HALVES.entries()) {
    const label = `cluster${number}`
    await fill(world, { label, tenant: 'b', count: CLUSTERED, topics: [...topics], echo: true })
    await world.exec('analyze; discard plans')
    await settle()
    for (const topic of PROBES.slice(0, 5)) await probe(topic)
    // Near and far by turns, so that what changes over time changes both.
    for (const topic of PROBES) notes.push({ near: topics.includes(topic), measures: await probe(topic) })
    await dropGraph(world, 'b')
    await clear(world, label)
  }
  return notes
}

/** The attacker's success by measure. */
export function aucs(notes: Note[]): Record<string, number> {
  const names = Object.keys(notes[0]?.measures ?? {})
  const values = (name: string, near: boolean) =>
    notes.filter((note) => note.near === near).map(({ measures }) => measures[name] ?? Number.NaN)
  return Object.fromEntries(names.map((name) => [name, auc(values(name, true), values(name, false))]))
}

/** Runs a statement as the attacker. */
export const asAttacker = <T>(world: World, fn: (run: Run) => Promise<T>): Promise<T> => world.as(PERSON.member, fn)

/** The searches of a probe, with the topic in its place. */
export const PROBE_SEARCHES = {
  hybrid: (topic: number) => `ai.search(isolation.question(${topic}), isolation.question_point(${topic}), '${MODEL}')`,
  vectors: (topic: number) =>
    `ai.search('x', isolation.question_point(${topic}), '${MODEL}', method => 'vector_search', match_count => 50)`,
  text: (topic: number) => `ai.search(isolation.question(${topic}), method => 'full_text', match_count => 50)`,
}

/** How many rows, and their scores. */
export function measuresOf(name: string, rows: Row[]): Record<string, number> {
  const scores = rows.map((row) => Number(row['vector_score'] ?? 0) + Number(row['text_score'] ?? 0))
  return {
    [`${name}: rows`]: rows.length,
    [`${name}: best score`]: Math.max(0, ...scores),
    [`${name}: sum of scores`]: scores.reduce((sum, score) => sum + score, 0),
  }
}
