import type { Tool } from './types.ts'

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * The tool with some arguments settled: the model is not asked for them, and what it writes in their place does not count.
 * Of `settled`, names that are no argument of the tool have no effect.
 */
export function withForcedArguments(tool: Tool, settled: Readonly<Record<string, unknown>>): Tool {
  const properties = isObject(tool.inputSchema['properties']) ? tool.inputSchema['properties'] : {}
  const forced = Object.fromEntries(Object.entries(settled).filter(([name]) => Object.hasOwn(properties, name)))
  if (Object.keys(forced).length === 0) return tool
  const required = Array.isArray(tool.inputSchema['required']) ? (tool.inputSchema['required'] as unknown[]) : []
  const { isRetrySafe } = tool
  return {
    ...tool,
    settled: forced,
    ...(typeof isRetrySafe === 'function' ? { isRetrySafe: (args) => isRetrySafe({ ...args, ...forced }) } : {}),
    inputSchema: {
      ...tool.inputSchema,
      properties: Object.fromEntries(Object.entries(properties).filter(([name]) => !Object.hasOwn(forced, name))),
      required: required.filter((name) => !Object.hasOwn(forced, String(name))),
    },
    execute: (args, context) => tool.execute({ ...args, ...forced }, context),
  }
}
