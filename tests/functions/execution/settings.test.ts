import { describe, expect, it } from 'vitest'
import { runDefaults, runSettings } from '../../../supabase/functions/_shared/execution/settings.ts'

const DEFAULTS = { model: null, maxContextTokens: 32_000, searchTopK: 10, searchMaxContextTokens: 16_000 }

describe('what counts where nobody says', () => {
  it('is the deployment’s to say, and has a value without it', () => {
    expect(runDefaults({})).toEqual(DEFAULTS)
    expect(runDefaults({ AGENT_DEFAULT_MODEL: ' ', DEFAULT_MAX_CONTEXT_TOKENS: '', KB_DEFAULT_TOP_K: ' ' })).toEqual(
      DEFAULTS,
    )
    const env = {
      AGENT_DEFAULT_MODEL: ' gpt-large ',
      DEFAULT_MAX_CONTEXT_TOKENS: '50',
      KB_DEFAULT_TOP_K: '100',
      KB_DEFAULT_MAX_CONTEXT_TOKENS: '200000',
    }
    const set = { model: 'gpt-large', maxContextTokens: 50, searchTopK: 100, searchMaxContextTokens: 200_000 }
    expect(runDefaults(env)).toEqual(set)
    expect(runSettings(env, 'x')).toMatchObject({ executor: 'x', leaseSeconds: 6, defaults: set })
  })

  it.each([
    ['AGENT_DEFAULT_MODEL', ['m'.repeat(201)]],
    ['DEFAULT_MAX_CONTEXT_TOKENS', ['49', '1000001', '32000.5', 'many', '-1', 'Infinity']],
    ['KB_DEFAULT_TOP_K', ['0', '101', '2.5', 'x']],
    ['KB_DEFAULT_MAX_CONTEXT_TOKENS', ['49', '200001', 'NaN']],
  ])('stops a process at its start where %s makes no sense', (name, values) => {
    for (const value of values) expect(() => runSettings({ [name]: value }, 'x'), value).toThrow(name)
  })
})
