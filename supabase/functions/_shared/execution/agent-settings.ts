import { z } from 'zod'

/** Settings of an agent that are read, each with the values that count. Any other value is as none. */
export const AGENT_SETTINGS = {
  temperature: z.number().min(0).max(2),
  max_tokens: z.number().min(1).max(1_000_000),
  max_steps: z.number().min(1).max(100),
  timeout_seconds: z.number().min(1).max(600),
  fallback_model: z.string().regex(/\S/),
  reasoning_effort: z.enum(['low', 'medium', 'high']),
  max_context_tokens: z.number().min(1),
  buffer_response: z.boolean(),
  /** Read by the function `chat`, where a foreign endpoint answers. */
  remote_agent_id: z.string().min(1),
}

type Settings = typeof AGENT_SETTINGS

/** A setting of an agent; undefined where it has none that counts. */
export function settingOf<Name extends keyof Settings>(
  settings: Record<string, unknown>,
  name: Name,
): z.output<Settings[Name]> | undefined {
  const parsed = AGENT_SETTINGS[name].safeParse(settings[name])
  return parsed.success ? (parsed.data as z.output<Settings[Name]>) : undefined
}

/** Warnings about settings that are stored and change nothing. */
export function settingWarnings(settings: Record<string, unknown> | null | undefined): string[] {
  return Object.entries(settings ?? {})
    .flatMap(([key, value]) => {
      const name = JSON.stringify(key.slice(0, 60))
      if (!Object.hasOwn(AGENT_SETTINGS, key)) return [`The setting ${name} is stored but has no effect.`]
      const isUsable = value === null || AGENT_SETTINGS[key as keyof Settings].safeParse(value).success
      return isUsable ? [] : [`The setting ${name} is stored but has no effect: its value cannot be used.`]
    })
    .slice(0, 20)
}
