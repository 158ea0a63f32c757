import { EmptyState } from '../../ui/index.ts'

export default function Access() {
  return <EmptyState title="Access" />
}
