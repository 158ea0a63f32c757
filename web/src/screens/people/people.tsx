import { EmptyState } from '../../ui/index.ts'

export default function People() {
  return <EmptyState title="People" />
}
