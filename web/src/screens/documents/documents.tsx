import { EmptyState } from '../../ui/index.ts'

export default function Documents() {
  return <EmptyState title="Documents" />
}
