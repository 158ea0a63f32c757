import { Search as SearchIcon } from 'lucide-react'
import { useEffect, useState } from 'react'
import { Button, CheckField, Field, SelectField, Stack, TextField } from '../../ui/index.ts'
import { useKnowledgeBases } from '../../app/knowledge-bases.ts'
import { type Asked, NOTHING_ASKED } from './asked.ts'
import styles from './search.module.css'

const METHODS = [
  { value: 'hybrid', label: 'Hybrid, all of it' },
  { value: 'vector_search', label: 'Meaning (vectors)' },
  { value: 'full_text', label: 'Words (BM25)' },
]
const FUSIONS = [
  { value: 'rrf', label: 'By ranks (rrf)' },
  { value: 'weighted', label: 'By scores (weighted)' },
]
const RERANKS = [
  { value: 'default', label: 'As it is set' },
  { value: 'true', label: 'Yes' },
  { value: 'false', label: 'No' },
]
const RERANK_OF: Record<string, boolean | null> = { default: null, true: true, false: false }

/** The query and, folded, how it is searched for. */
export function SearchForm({ asked, onAsk }: { asked: Asked; onAsk: (asked: Asked) => void }) {
  const [draft, setDraft] = useState(asked)
  const address = JSON.stringify(asked)
  useEffect(() => setDraft(asked), [address])
  const change = (values: Partial<Asked>) => setDraft({ ...draft, ...values })
  return (
    <form
      className={styles['form']}
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        onAsk(draft)
      }}
    >
      <div className={styles['query']}>
        <Field label="What to find" hideLabel>
          {(control) => (
            <input
              {...control}
              className={styles['input']}
              type="search"
              placeholder='A question, a "phrase", a -word to exclude, an identifier'
              autoComplete="off"
              maxLength={4000}
              value={draft.query}
              onChange={(event) => change({ query: event.currentTarget.value })}
            />
          )}
        </Field>
        <Button
          type="submit"
          kind="primary"
          icon={<SearchIcon size={18} aria-hidden />}
          disabled={draft.query.trim() === ''}
        >
          Search
        </Button>
      </div>
      <details className={styles['options']}>
        <summary>{summaryOf(draft)}</summary>
        <Options draft={draft} onChange={change} />
      </details>
    </form>
  )
}

const summaryOf = (draft: Asked): string =>
  [
    draft.knowledgeBaseIds.length === 0
      ? 'All knowledge bases'
      : draft.knowledgeBaseIds.length === 1
        ? '1 knowledge base'
        : `${draft.knowledgeBaseIds.length} knowledge bases`,
    draft.method === 'hybrid'
      ? `hybrid, ${draft.fusion}`
      : draft.method === 'full_text'
        ? 'words only'
        : 'meaning only',
    `${draft.topK} results at most`,
    draft.rerank === true && 'reranked',
    draft.rerank === false && 'not reranked',
    draft.maxPerSource !== null && `${draft.maxPerSource} of each document`,
    draft.deduplicate && 'equal texts once',
  ]
    .filter((part) => part !== false)
    .join(' · ')

const countOf = (text: string): number | null => {
  const count = Math.round(Number(text))
  return text !== '' && count >= 1 && count <= 100 ? count : null
}

function Options({ draft, onChange }: { draft: Asked; onChange: (values: Partial<Asked>) => void }) {
  const bases = useKnowledgeBases()
  const isHybrid = draft.method === 'hybrid'
  const weight = draft.vectorWeight ?? (draft.fusion === 'weighted' ? 0.7 : 0.5)
  return (
    <Stack>
      <div className={styles['fields']}>
        <SelectField
          label="Method"
          options={METHODS}
          value={draft.method}
          onChange={(event) => onChange({ method: event.currentTarget.value as Asked['method'] })}
        />
        <SelectField
          label="How the legs are put together"
          options={FUSIONS}
          value={draft.fusion}
          disabled={!isHybrid}
          onChange={(event) => onChange({ fusion: event.currentTarget.value as Asked['fusion'], vectorWeight: null })}
        />
        <Field label={`Share of meaning, ${weight.toFixed(2)}`}>
          {(control) => (
            <input
              {...control}
              className={styles['range']}
              type="range"
              min={0}
              max={1}
              step={0.05}
              value={weight}
              disabled={!isHybrid}
              onChange={(event) => onChange({ vectorWeight: Number(event.currentTarget.value) })}
            />
          )}
        </Field>
        <TextField
          label="Results at most"
          type="number"
          min={1}
          max={100}
          value={draft.topK}
          onChange={(event) => onChange({ topK: countOf(event.currentTarget.value) ?? NOTHING_ASKED.topK })}
        />
        <TextField
          label="Of each document at most"
          type="number"
          min={1}
          max={100}
          placeholder="no limit"
          value={draft.maxPerSource ?? ''}
          onChange={(event) => onChange({ maxPerSource: countOf(event.currentTarget.value) })}
        />
        <SelectField
          label="Rerank the first results"
          options={RERANKS}
          value={String(draft.rerank ?? 'default')}
          onChange={(event) => onChange({ rerank: RERANK_OF[event.currentTarget.value] ?? null })}
        />
      </div>
      <fieldset className={styles['bases']}>
        <legend>Knowledge bases (none chosen: all)</legend>
        <div>
          {bases.data?.map((base) => (
            <CheckField
              key={base.id}
              label={base.name}
              checked={draft.knowledgeBaseIds.includes(base.id)}
              onChange={(event) =>
                onChange({
                  knowledgeBaseIds: event.currentTarget.checked
                    ? [...draft.knowledgeBaseIds, base.id]
                    : draft.knowledgeBaseIds.filter((id) => id !== base.id),
                })
              }
            />
          ))}
        </div>
      </fieldset>
      <CheckField
        label="Equal texts once"
        checked={draft.deduplicate}
        onChange={(event) => onChange({ deduplicate: event.currentTarget.checked })}
      />
    </Stack>
  )
}
