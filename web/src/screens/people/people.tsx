import { useBackend } from '../../app/backend.ts'
import { PageHeader, Stack, Tabs, useToast } from '../../ui/index.ts'
import { MyInvitations } from '../sign-in/my-invitations.tsx'
import { Groups } from './groups.tsx'
import { Invitations } from './invitations.tsx'
import { Members } from './members.tsx'

/** Who is in the tenant, in which role and groups, and who is invited. */
export default function People() {
  const { tenant, can } = useBackend()
  const toast = useToast()
  const tabs = [
    { value: 'members', label: 'Members', content: <Members /> },
    { value: 'groups', label: 'Groups', content: <Groups /> },
    ...(can('admin') ? [{ value: 'invitations', label: 'Invitations', content: <Invitations /> }] : []),
  ]
  return (
    <>
      <PageHeader
        title="People"
        description={`Members of ${tenant.name}. Rights come from these rows at the moment of each statement: who is removed sees nothing at the next one.`}
      />
      <Stack>
        <MyInvitations
          onJoined={() => toast.done('You have joined', 'The tenant is in the list at the top within a few seconds.')}
        />
        <Tabs label="People" tabs={tabs} />
      </Stack>
    </>
  )
}
