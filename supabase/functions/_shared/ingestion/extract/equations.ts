/** Equations of Office documents in a linear form: what stands before the parts of a construct, by its element. */
export const EQUATION_OPEN: ReadonlyMap<string, string> = new Map([
  ['m:num', '('],
  ['m:den', '/('],
  ['m:sup', '^('],
  ['m:sub', '_('],
  ['m:deg', 'root'],
  ['m:d', '('],
  ['m:rad', '√'],
])

/** What stands after them. */
export const EQUATION_CLOSE: ReadonlyMap<string, string> = new Map([
  ['m:num', ')'],
  ['m:den', ')'],
  ['m:sup', ')'],
  ['m:sub', ')'],
  ['m:d', ')'],
])
