import { EmptyState } from '../../ui/index.ts'

export default function Usage() {
  return <EmptyState title="Usage" />
}
