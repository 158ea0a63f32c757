import { FileUp, MessagesSquare } from 'lucide-react'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { links } from '../../lib/links.ts'
import { Button, EmptyState } from '../../ui/index.ts'
import styles from './chat.module.css'
import { useSuggestions } from './data.ts'

/** What a conversation is, and the first step: a document where there is none, a question where there are some. */
export function Beginning({ onAsk }: { onAsk: (question: string) => void }) {
  const { can, tenant } = useBackend()
  const known = useSuggestions()
  if (known.data && !known.data.hasDocuments) {
    return (
      <EmptyState
        title="No document to answer from yet"
        icon={<FileUp size={36} aria-hidden />}
        actions={<Link href={links.documents()}>Go to the documents</Link>}
      >
        {can('member')
          ? 'Answers rest on documents and say on which. Upload one under Documents, wait until it is indexed, then ask about it here.'
          : `Answers rest on documents and say on which. ${tenant.name} has none that you may see; its members can upload some.`}
      </EmptyState>
    )
  }
  return (
    <EmptyState
      title="Ask about the documents you can see"
      icon={<MessagesSquare size={36} aria-hidden />}
      actions={known.data?.suggestions.map((question) => (
        <Button key={question} className={styles['suggestion'] ?? ''} onClick={() => onAsk(question)}>
          {question}
        </Button>
      ))}
    >
      The agent searches with your rights: what you may not read cannot be in its answers. Answers name their sources,
      and one click opens the passage.
    </EmptyState>
  )
}
