/** Warnings about one list or object of a request. */
const MAX_WARNINGS = 20

/** A key as a warning names it: sent by whoever asks, so it may be long. */
const named = (path: string, key: string) => JSON.stringify(`${path}${key.slice(0, 60)}`)

const others = (value: unknown, known: readonly string[]) =>
  Object.keys(Object(value)).filter((key) => !known.includes(key))

/**
 * Warnings about keys that are not known and are dropped, the first 20.
 * @param path what stands before the key, with its dot: `json_schema.`; empty for fields of the body.
 */
export const droppedKeys = (path: string, value: unknown, known: readonly string[]): string[] =>
  others(value, known)
    .slice(0, MAX_WARNINGS)
    .map((key) => `The field ${named(path, key)} is not known here and was ignored.`)

/** The same for each object of a list, by its index: `knowledge_bases[0].depth`. The first 20 of all. */
export const droppedInList = (name: string, list: unknown, known: readonly string[]): string[] =>
  (Array.isArray(list) ? list : [])
    .flatMap((entry, index) => droppedKeys(`${name}[${index}].`, entry, known))
    .slice(0, MAX_WARNINGS)

/** Warnings about keys that are stored as they were sent and that nothing reads, the first 20; `path` as above. */
export const idleKeys = (path: string, value: unknown, known: readonly string[]): string[] =>
  others(value, known)
    .slice(0, MAX_WARNINGS)
    .map((key) => `The setting ${named(path, key)} is stored but has no effect.`)
