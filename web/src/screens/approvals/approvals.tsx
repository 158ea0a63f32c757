import { EmptyState } from '../../ui/index.ts'

export default function Approvals() {
  return <EmptyState title="Approvals" />
}
