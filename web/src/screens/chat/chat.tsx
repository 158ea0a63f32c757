import { EmptyState } from '../../ui/index.ts'

export default function Chat() {
  return <EmptyState title="Chat" />
}
