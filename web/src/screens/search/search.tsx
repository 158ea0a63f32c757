import { EmptyState } from '../../ui/index.ts'

export default function Search() {
  return <EmptyState title="Search" />
}
