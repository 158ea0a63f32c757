import type { Env } from '../env.ts'
import { optional } from '../env.ts'

/** What counts where neither request nor agent nor knowledge base says. The same in every process that carries out runs. */
export type RunDefaults = {
  /** Model of agents that name none; null: that of the provider. */
  model: string | null
  /** Tokens, characters / 4, that the context of a run may have. */
  maxContextTokens: number
  /** Passages of a knowledge base that knowledge_search gives, and tokens that they may have together. */
  searchTopK: number
  searchMaxContextTokens: number
}

/** How a process carries out runs. */
export type RunSettings = {
  /** Names this process in leases. */
  executor: string
  /** How long a lease lasts without renewal: about as long a run stands still when its executor dies. */
  leaseSeconds: number
  /** Milliseconds after which a stream ends itself, before the wall-clock limit of the platform does it. */
  streamLimitMs: number
  defaults: RunDefaults
}

/** Deps of what carries out runs. */
export type WithRuns = { runs: RunSettings }

function seconds(env: Env, name: string, fallback: number): number {
  const value = Number(optional(env, name) ?? fallback)
  if (!(value >= 1 && value <= 3600)) {
    throw new Error(`The environment variable ${name} must be a number of seconds from 1 to 3600.`)
  }
  return value
}

function wholeNumber(env: Env, name: string, fallback: number, least: number, most: number): number {
  const value = Number(optional(env, name) ?? fallback)
  if (!(Number.isInteger(value) && value >= least && value <= most)) {
    throw new Error(`The environment variable ${name} must be a whole number from ${least} to ${most}.`)
  }
  return value
}

/** Characters a model's name may have, also in ai.agents. */
const MAX_MODEL_CHARS = 200

function defaultModel(env: Env): string | null {
  const model = optional(env, 'AGENT_DEFAULT_MODEL') ?? null
  if (model !== null && model.length > MAX_MODEL_CHARS) {
    throw new Error(`The environment variable AGENT_DEFAULT_MODEL may have at most ${MAX_MODEL_CHARS} characters.`)
  }
  return model
}

/** AGENT_DEFAULT_MODEL, DEFAULT_MAX_CONTEXT_TOKENS, KB_DEFAULT_TOP_K and KB_DEFAULT_MAX_CONTEXT_TOKENS, or what they are without. */
export const runDefaults = (env: Env): RunDefaults => ({
  model: defaultModel(env),
  maxContextTokens: wholeNumber(env, 'DEFAULT_MAX_CONTEXT_TOKENS', 32_000, 50, 1_000_000),
  searchTopK: wholeNumber(env, 'KB_DEFAULT_TOP_K', 10, 1, 100),
  searchMaxContextTokens: wholeNumber(env, 'KB_DEFAULT_MAX_CONTEXT_TOKENS', 16_000, 50, 200_000),
})

/**
 * The settings of this deployment: RUN_LEASE_SECONDS, STREAM_LIMIT_SECONDS, and those of `runDefaults`.
 * @throws Error naming the first variable that is malformed.
 */
export function runSettings(env: Env, executor: string): RunSettings {
  return {
    executor,
    leaseSeconds: seconds(env, 'RUN_LEASE_SECONDS', 6),
    streamLimitMs: seconds(env, 'STREAM_LIMIT_SECONDS', 140) * 1000,
    defaults: runDefaults(env),
  }
}
