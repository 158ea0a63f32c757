import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Badge, Button, Card, ErrorNotice, Notice, Row, Stack, Waiting } from '../../ui/index.ts'
import { useBackend } from '../../app/backend.ts'
import type { CallView, StepView } from './activity.ts'
import { useUsageOf, type RunDetail } from './data.ts'
import styles from './runs.module.css'
import { Steps } from './steps.tsx'
import type { RunEvents } from './use-run-events.ts'

/** The steps of a run with what each has used, and the decisions that are due. */
export function Timeline({ run, live, isActive }: { run: RunDetail; live: RunEvents; isActive: boolean }) {
  const usage = useUsageOf(run.id, isActive)
  const { steps, warnings } = live.activity
  const usageOf = (step: StepView) => {
    const entries = usage.data?.filter((entry) => entry.step === step.step && entry.kind === 'chat') ?? []
    if (entries.length === 0) return null
    const tokens = entries.reduce((sum, entry) => sum + entry.total_tokens, 0)
    const models = [...new Set(entries.flatMap(({ model }) => model ?? []))]
    return (
      <span className={styles['aside']}>
        {tokens.toLocaleString('en')} tokens{entries.some((entry) => entry.is_estimate) && ' (estimated)'}
        {models.length > 0 && ` · ${models.join(', ')}`}
        {entries.length > 1 && ` · ${entries.length} calls of the model`}
      </span>
    )
  }
  const besides = usage.data?.filter(({ step, kind }) => step === null || kind !== 'chat') ?? []
  return (
    <Card title="Steps">
      <Stack gap={3}>
        {warnings.map((warning) => (
          <Notice key={warning} tone="warn">
            {warning}
          </Notice>
        ))}
        {!live.isLoaded && <Waiting what="Reading the log" small />}
        {live.isLoaded && steps.length === 0 && (
          <p className={styles['aside']}>
            {run.status === 'pending' ? 'It waits to be taken up.' : 'One call of the model, no tools.'}
          </p>
        )}
        {steps.length > 0 && (
          <Steps
            steps={steps}
            isActive={isActive}
            headOf={(step) => (
              <>
                {usageOf(step)}
                {step.finishReason && step.finishReason !== 'stop' && step.finishReason !== 'tool_calls' && (
                  <Badge tone="warn">{step.finishReason.replaceAll('_', ' ')}</Badge>
                )}
              </>
            )}
            belowCall={(call) =>
              call.status === 'interrupted' &&
              run.wait_reason === 'unsafe_call' && <Interrupted run={run} call={call} />
            }
          />
        )}
        {usage.error && <ErrorNotice error={usage.error} title="What it has used is not known" />}
        {besides.length > 0 && (
          <p className={styles['aside']}>
            Besides:{' '}
            {besides
              .map(
                ({ kind, model, total_tokens }) => `${kind} ${model ?? ''} ${total_tokens.toLocaleString('en')} tokens`,
              )
              .join(', ')}
          </p>
        )}
      </Stack>
    </Card>
  )
}

const DECISIONS = [
  ['retry', 'Make it again', 'Making it again…'],
  ['skip', 'Go on without', 'Going on…'],
  ['fail', 'End the run', 'Ending…'],
] as const

/** Nobody knows whether the call took effect: a person says how it goes on. */
function Interrupted({ run, call }: { run: RunDetail; call: CallView }) {
  const { bulkhead } = useBackend()
  const queryClient = useQueryClient()
  const decide = useMutation({
    mutationFn: (decision: 'retry' | 'skip' | 'fail') =>
      bulkhead.decideInterruptedCall(run.run_id, call.callId, decision),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['runs'] }),
  })
  return (
    <Notice tone="warn">
      <p>
        Whoever made this call was lost before its result came. It may have taken effect. Look there first; made again,
        it may take effect twice. Without it, the model is told that nobody knows.
      </p>
      {decide.error && <ErrorNotice error={decide.error} title="Your decision was not taken" />}
      <Row>
        {DECISIONS.map(([decision, label, busy]) => (
          <Button
            key={decision}
            small
            kind={decision === 'fail' ? 'danger' : 'default'}
            disabled={decide.isPending}
            busy={decide.isPending && decide.variables === decision && busy}
            onClick={() => decide.mutate(decision)}
          >
            {label}
          </Button>
        ))}
      </Row>
    </Notice>
  )
}
