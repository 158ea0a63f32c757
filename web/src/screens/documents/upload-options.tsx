import { FileUp } from 'lucide-react'
import { useBackend } from '../../app/backend.ts'
import { CheckField, ErrorNotice, SelectField, Stack } from '../../ui/index.ts'
import { useKnowledgeBases } from '../../app/knowledge-bases.ts'
import { type Visibility } from './data.ts'
import { LIMITS_TOLD } from './files.ts'
import type { UploadSettings } from './send-file.ts'
import styles from './documents.module.css'

/** Who may see what one uploads, in words. */
export const audiencesIn = (tenantName: string): { value: Visibility; label: string }[] => [
  { value: 'tenant', label: `Everyone in ${tenantName}` },
  { value: 'private', label: 'Only me' },
  { value: 'granted', label: 'Me, and whom I name afterwards' },
]

/** Where files can be dropped, what is taken, and what becomes of it. */
export function UploadOptions(props: {
  settings: UploadSettings
  onChange: (settings: UploadSettings) => void
  onChoose: () => void
}) {
  const { settings, onChange, onChoose } = props
  const { tenant } = useBackend()
  const bases = useKnowledgeBases()
  const audiences = audiencesIn(tenant.name)
  const chosen = bases.data?.filter((base) => settings.knowledgeBaseIds.includes(base.id)) ?? []
  const shown = chosen.length > 0 ? chosen : (bases.data?.filter((base) => base.is_default) ?? [])
  const toggle = (id: string, isOn: boolean) => {
    const before = shown.map((base) => base.id)
    onChange({ ...settings, knowledgeBaseIds: isOn ? [...before, id] : before.filter((each) => each !== id) })
  }
  return (
    <div className={styles['upload']}>
      <p className={styles['upload-told']}>
        <FileUp size={20} aria-hidden />
        <span>
          Drop files anywhere on this page, or{' '}
          <button type="button" className={styles['link-button']} onClick={onChoose}>
            choose them
          </button>
          . <span className={styles['soft']}>{LIMITS_TOLD}</span>
        </span>
      </p>
      <details className={styles['options']}>
        <summary>
          Seen by: <strong>{audiences.find((each) => each.value === settings.visibility)?.label}</strong>
          {shown.length > 0 && (
            <>
              {' '}
              · Knowledge base: <strong>{shown.map((base) => base.name).join(', ')}</strong>
            </>
          )}
        </summary>
        <div className={styles['options-body']}>
          <SelectField
            label="Who may see the files you upload next"
            options={audiences}
            value={settings.visibility}
            onChange={(event) => onChange({ ...settings, visibility: event.currentTarget.value as Visibility })}
            hint="It can be changed later, on the page of each document."
          />
          <fieldset className={styles['fieldset']}>
            <legend>Knowledge bases to index them in</legend>
            {bases.error && <ErrorNotice error={bases.error} onRetry={() => void bases.refetch()} />}
            <Stack gap={2}>
              {bases.data?.map((base) => (
                <CheckField
                  key={base.id}
                  label={base.is_default ? `${base.name} (default)` : base.name}
                  checked={shown.includes(base)}
                  disabled={shown.length === 1 && shown.includes(base)}
                  onChange={(event) => toggle(base.id, event.currentTarget.checked)}
                />
              ))}
            </Stack>
          </fieldset>
        </div>
      </details>
    </div>
  )
}
