/** What the two plugins need to know of a syntax tree, of Markdown (mdast) and of HTML (hast). */
type Node = {
  type: string
  value?: string
  tagName?: string
  identifier?: string
  properties?: Record<string, unknown>
  children?: Node[]
}

/** A mark as the server writes it: `[3]`. */
const MARK = /\[(\d{1,4})\]/g
/** Where a mark is text. */
const LITERAL = new Set(['code', 'pre', 'a'])

/**
 * Takes out definitions of numbers. A text that brings `[1]: https://elsewhere.example` along would otherwise make links to
 * there of the marks.
 */
export const remarkKeepMarks = () => (tree: Node) => withoutNumbers(tree)

function withoutNumbers(parent: Node): void {
  if (!parent.children) return
  parent.children = parent.children.filter(
    ({ type, identifier }) => type !== 'definition' || !/^\^?\d+$/.test(identifier ?? ''),
  )
  parent.children.forEach(withoutNumbers)
}

/**
 * Makes an element of each mark `[n]`, to be drawn as a citation. Runs after the sanitiser, which lets nobody else have the
 * property that tells them.
 */
export const rehypeCitationMarks = () => (tree: Node) => mark(tree)

function mark(parent: Node): void {
  if (!parent.children) return
  parent.children = parent.children.flatMap((node) => {
    if (!LITERAL.has(node.tagName ?? '')) mark(node)
    return node.type === 'text' ? marksIn(node.value ?? '') : [node]
  })
}

function marksIn(text: string): Node[] {
  const nodes: Node[] = []
  let end = 0
  for (const match of text.matchAll(MARK)) {
    if (match.index > end) nodes.push({ type: 'text', value: text.slice(end, match.index) })
    nodes.push({ type: 'element', tagName: 'cite', properties: { dataCitation: match[1] }, children: [] })
    end = match.index + match[0].length
  }
  if (end < text.length) nodes.push({ type: 'text', value: text.slice(end) })
  return nodes
}
