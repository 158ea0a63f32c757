/** A node of an execution plan as EXPLAIN (FORMAT JSON) writes it. */
export type PlanNode = {
  'Node Type': string
  'Parent Relationship'?: string
  'Relation Name'?: string
  'Index Name'?: string
  'Index Cond'?: string
  'Recheck Cond'?: string
  Filter?: string
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Shared Hit Blocks'?: number
  'Shared Read Blocks'?: number
  Plans?: PlanNode[]
}

export type Plan = { text: string; root: PlanNode }

/** Reads what auto_explain has logged; undefined for any other message. */
export function readPlan(message: string): Plan | undefined {
  const start = message.indexOf('{')
  if (!/^duration: .* plan:/.test(message) || start < 0) return undefined
  const { 'Query Text': text, Plan: root } = JSON.parse(message.slice(start)) as {
    'Query Text': string
    Plan: PlanNode
  }
  return { text, root }
}

/** All nodes of a plan, from the top. */
export function* nodesOf(node: PlanNode): Generator<PlanNode> {
  yield node
  for (const child of node.Plans ?? []) yield* nodesOf(child)
}

/** Pages of shared buffers that a node and all below it touched. */
export const pagesOf = (node: PlanNode): number => (node['Shared Hit Blocks'] ?? 0) + (node['Shared Read Blocks'] ?? 0)
