import { EmptyState } from '../../ui/index.ts'

export default function Runs() {
  return <EmptyState title="Runs" />
}
