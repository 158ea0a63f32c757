import { EmptyState } from '../../ui/index.ts'

export default function Audit() {
  return <EmptyState title="Audit" />
}
