import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Check, X } from 'lucide-react'
import { useState } from 'react'
import { Link } from 'wouter'
import { AgentName } from '../../app/agents.tsx'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Person } from '../../app/people.tsx'
import { links } from '../../lib/links.ts'
import {
  Badge,
  Button,
  Card,
  Copyable,
  ErrorNotice,
  Facts,
  JsonView,
  Row,
  Stack,
  TextField,
  Time,
  useToast,
} from '../../ui/index.ts'
import { Countdown } from './countdown.tsx'
import { type Approval, useGroupNames } from './data.ts'

/** One call that waits: who asks, for what exactly, who may decide and until when. */
export function ApprovalCard({ approval, canDecide }: { approval: Approval; canDecide: boolean }) {
  return (
    <Card
      title={
        <>
          <code>{approval.tool_name}</code> asks
        </>
      }
      actions={<Countdown until={approval.expires_at} />}
    >
      <Stack gap={3}>
        {approval.message && <p>{approval.message}</p>}
        <JsonView value={approval.tool_input} label={`Arguments of ${approval.tool_name}`} />
        <Facts
          facts={[
            ['For', <Person key="for" id={approval.user_id} />],
            ['Agent', <AgentName key="agent" id={approval.agent_id} />],
            ['Asked', <Time key="asked" at={approval.created_at} />],
            ['May decide', <WhoDecides key="who" approval={approval} />],
            [
              'Arguments (SHA-256)',
              <Copyable key="hash" value={approval.input_hash} shown={approval.input_hash.slice(0, 12)} />,
            ],
            [
              'Run',
              <Link key="run" href={links.run(approval.run_id)}>
                open the run
              </Link>,
            ],
          ]}
        />
        {canDecide ? <Decide approval={approval} /> : <p>This is not for you to decide.</p>}
      </Stack>
    </Card>
  )
}

/** Who may decide, in words. */
export function WhoDecides({ approval }: { approval: Approval }) {
  const groups = useGroupNames()
  const { decider_role: role, decider_group_id: group, four_eyes: fourEyes, quorum } = approval
  const who = [
    role && (role === 'owner' ? 'owners' : `${role}s and above`),
    group && `members of ${groups.data?.get(group) ?? 'a group'}`,
  ].filter(Boolean)
  return (
    <Row>
      <span>{who.length > 0 ? who.join(', if they are ') : 'the person it is for, or an admin'}</span>
      {fourEyes && <Badge tone="info">four eyes</Badge>}
      {quorum > 1 && <Badge tone="info">{quorum} people</Badge>}
    </Row>
  )
}

function Decide({ approval }: { approval: Approval }) {
  const { supabase } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const [reason, setReason] = useState('')
  const decide = useMutation({
    mutationFn: async (approved: boolean) =>
      dataOf(
        await supabase.schema('ai').rpc('decide_approval', {
          approval_id: approval.id,
          approved,
          // The decision is about this call as it is shown here; if it is another one by now, it is refused.
          input_hash: approval.input_hash,
          ...(reason.trim() ? { reason: reason.trim() } : {}),
        }),
      ) as { status: string; approvals: number; quorum: number },
    onSuccess: ({ status, approvals, quorum }, approved) => {
      if (status === 'waiting')
        toast.done('Your word counts', `${approvals} of ${quorum} have approved; the rest is awaited.`)
      else toast.done(approved ? 'Approved' : 'Denied', 'The run goes on.')
    },
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['approvals'] }),
  })
  const busy = decide.isPending ? decide.variables : null
  return (
    <Stack gap={3}>
      <TextField
        label="Reason"
        hint="Kept with the decision; if you deny, the model is told."
        value={reason}
        maxLength={2000}
        onChange={(event) => setReason(event.currentTarget.value)}
      />
      {decide.error && <ErrorNotice error={decide.error} title="Your decision was not taken" />}
      <Row>
        <Button
          kind="primary"
          icon={<Check size={16} aria-hidden />}
          busy={busy === true && 'Approving…'}
          disabled={decide.isPending}
          onClick={() => decide.mutate(true)}
        >
          Approve
        </Button>
        <Button
          kind="danger"
          icon={<X size={16} aria-hidden />}
          busy={busy === false && 'Denying…'}
          disabled={decide.isPending}
          onClick={() => decide.mutate(false)}
        >
          Deny
        </Button>
      </Row>
    </Stack>
  )
}
