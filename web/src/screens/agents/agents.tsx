import { EmptyState } from '../../ui/index.ts'

export default function Agents() {
  return <EmptyState title="Agents" />
}
