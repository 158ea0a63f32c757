/** Characters that providers take in a tool's name. */
const MAX_NAME_CHARS = 64
/** Hex digits that tell cut names apart. */
const DIGEST_CHARS = 8

async function shortDigest(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))
  return Array.from(digest.slice(0, DIGEST_CHARS / 2), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** `mcp__{server}__{tool}` in the characters that providers take; a longer one ends in a digest of the whole. */
export async function toolName(server: string, tool: string): Promise<string> {
  const name = `mcp__${server}__${tool}`.replace(/[^a-zA-Z0-9_-]/g, '_')
  if (name.length <= MAX_NAME_CHARS) return name
  return `${name.slice(0, MAX_NAME_CHARS - DIGEST_CHARS - 1)}_${await shortDigest(JSON.stringify([server, tool]))}`
}

/**
 * Names for tools, in their order. Where two would have the same, neither gets it: which one the model means could not be
 * told, and a server could put its tool in the place of another's (T10).
 * @param taken names of other tools.
 * @returns null for those that get none.
 */
export async function toolNames(
  tools: readonly { server: string; tool: string }[],
  taken: Iterable<string>,
): Promise<(string | null)[]> {
  const names = await Promise.all(tools.map(({ server, tool }) => toolName(server, tool)))
  const uses = new Map<string, number>()
  for (const name of [...taken, ...names]) uses.set(name, (uses.get(name) ?? 0) + 1)
  return names.map((name) => (uses.get(name) === 1 ? name : null))
}
