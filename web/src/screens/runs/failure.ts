/** What to do about a run that failed, by its code; see docs/errors.md. */
const HINTS: Record<string, string> = {
  upstream_failed: 'Try again. If it stays so, an admin looks at the settings of the model.',
  upstream_timeout: 'Try again, with a smaller question if it stays so.',
  rate_limited: 'The provider of the model is busy. Wait a moment, then try again.',
  budget_exceeded: 'The budget of this period is used up. An admin can raise it under Usage.',
  context_length_exceeded: 'Ask a shorter question, or begin a new conversation.',
  doom_loop: 'The model made the same call again and again. Put the question in another way, or change the agent.',
  interrupted: 'Ask again.',
  agent_unpublished: 'Choose another agent, or ask an admin to publish this one.',
  membership_lost: 'Ask an admin of this tenant to invite you again.',
  unavailable: 'Try again.',
}

/** A failure of a run as `ErrorNotice` takes it. */
export const runFailure = (
  message: string | null,
  code: string | null,
): { message: string; code: string; hint?: string } => {
  const hint = HINTS[code ?? '']
  return { message: message ?? 'The run failed.', code: code ?? 'unexpected', ...(hint ? { hint } : {}) }
}
