import type { RunEvent } from '../../../../client/index.ts'

/** A call of a tool within a step. */
export type CallView = {
  callId: string
  toolName: string
  /** Exactly as the model wrote them, after the gates. */
  arguments: unknown
  status: 'running' | 'waiting' | 'interrupted' | 'finished' | 'failed'
  /** What the model got, once there is something; long ones are cut by the server. */
  result: string | null
  durationMs: number | null
  /** The approval that it waits or waited for. */
  approvalId: string | null
}

/** What happened beside the calls: a repeat, another model, a shortened conversation. */
export type Note = { text: string; tone: 'info' | 'warn'; at: string | null }

export type StepView = {
  step: number
  startedAt: string | null
  endedAt: string | null
  /** Why the model stopped, as its provider says. */
  finishReason: string | null
  reasoning: string
  calls: CallView[]
  notes: Note[]
}

/** What a run has done so far, put together from its events. */
export type Activity = { steps: StepView[]; warnings: string[] }

export const NO_ACTIVITY: Activity = { steps: [], warnings: [] }

const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const count = (value: unknown): number | null => (typeof value === 'number' ? value : null)

const RESET: Record<string, string> = {
  interrupted: 'Taken over: who carried it out was lost, the step began again',
  rate_limit: 'The provider was busy, the step began again',
  prompt_too_long: 'The prompt was too long for the model, it was shortened and sent again',
  model_error: 'The model failed, the step began again',
}

/** The note that an event is worth; null for what is shown elsewhere or not at all. */
function noteOf(event: RunEvent, kind: string): Omit<Note, 'at'> | null {
  switch (kind) {
    case 'step_reset':
      return { text: RESET[text(event['reason'])] ?? `The step began again (${text(event['reason'])})`, tone: 'warn' }
    case 'model_fallback':
      return { text: `The model ${text(event['from'])} failed, ${text(event['to'])} took its place`, tone: 'warn' }
    case 'reasoning_dropped_at_provider_switch':
      return { text: 'What was reasoned so far was not handed on to it', tone: 'info' }
    case 'error':
      // Of the whole run otherwise, which is shown with the run.
      return count(event['step']) === null
        ? null
        : { text: `The model failed: ${text(event['message']) || text(event['error'])}`, tone: 'warn' }
    case 'output_recovery':
      return { text: 'The answer was cut off at its longest and was gone on with', tone: 'info' }
    case 'compaction':
    case 'proactive_compact':
    case 'reactive_compact':
      return { text: 'The conversation became long, its beginning was summarised', tone: 'info' }
    case 'reactive_truncate':
      return { text: 'The conversation was shortened to fit the model', tone: 'warn' }
    case 'hook_result': {
      const message = text(event['message'])
      const did = event['blocked']
        ? 'refused'
        : event['modified']
          ? 'changed something'
          : text(event['status']).replaceAll('_', ' ')
      const isQuiet = !event['blocked'] && !event['modified'] && text(event['status']) === 'succeeded'
      return isQuiet
        ? null
        : {
            text: `A hook (${text(event['hook_event'])}) ${did}${message && `: ${message}`}`,
            tone: event['blocked'] ? 'warn' : 'info',
          }
    }
    default:
      return null
  }
}

/** Puts events in order of their positions together. Deltas of the answer are not needed. */
export function activityOf(events: Iterable<RunEvent>): Activity {
  const steps = new Map<number, StepView>()
  let warnings: string[] = []
  let latest = 1
  const stepOf = (event: RunEvent): StepView => {
    latest = count(event['step']) ?? latest
    const found = steps.get(latest)
    if (found) return found
    const step: StepView = {
      ...{ step: latest, startedAt: event.ts ?? null, endedAt: null, finishReason: null },
      ...{ reasoning: '', calls: [], notes: [] },
    }
    steps.set(latest, step)
    return step
  }
  const callOf = (event: RunEvent): CallView => {
    const callId = text(event['call_id'])
    // An approval names its call only; the call was announced in whichever step it belongs to.
    for (const step of steps.values()) {
      const found = step.calls.find((call) => call.callId === callId)
      if (found) return found
    }
    const call: CallView = {
      ...{ callId, toolName: text(event['tool_name']), arguments: event['arguments'] ?? event['tool_input'] ?? {} },
      ...{ status: 'running', result: null, durationMs: null, approvalId: null },
    }
    stepOf(event).calls.push(call)
    return call
  }
  for (const event of events) {
    const kind = text(event.event) || text(event.type)
    const note = noteOf(event, kind)
    if (note) stepOf(event).notes.push({ ...note, at: event.ts ?? null })
    if (kind === 'step_started') stepOf(event)
    else if (kind === 'step_completed') {
      const step = stepOf(event)
      step.endedAt = event.ts ?? null
      step.finishReason = text(event['finish_reason']) || null
    } else if (kind === 'reasoning') stepOf(event).reasoning = text(event['content'])
    else if (kind === 'tool_call') callOf(event).status = 'running'
    else if (kind === 'approval_requested') {
      const call = callOf(event)
      call.status = 'waiting'
      call.approvalId = text(event['approval_id']) || null
    } else if (kind === 'call_interrupted') callOf(event).status = 'interrupted'
    else if (kind === 'tool_result') {
      const call = callOf(event)
      call.status = event['is_error'] === true ? 'failed' : 'finished'
      call.result = text(event['result'])
      call.durationMs = count(event['duration_ms'])
    } else if (kind === 'complete' && Array.isArray(event['warnings'])) {
      warnings = event['warnings'].filter((each): each is string => typeof each === 'string')
    }
  }
  return { steps: [...steps.values()].sort((a, b) => a.step - b.step), warnings }
}

/** How many calls of tools there are. */
export const callCount = ({ steps }: Activity): number => steps.reduce((sum, { calls }) => sum + calls.length, 0)

/** Milliseconds as people say them: `340 ms`, `4.2 s`, `3 min 5 s`. */
export function duration(ms: number | null | undefined): string {
  if (ms == null || !Number.isFinite(ms)) return '–'
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** The time between two moments; null while one is not known. */
export const between = (from: string | null | undefined, to: string | null | undefined): number | null =>
  from && to ? Date.parse(to) - Date.parse(from) : null
