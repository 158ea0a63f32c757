import type { ReactNode } from 'react'
import { Badge, Bar } from '../../ui/index.ts'
import type { Explanation, Leg } from './explanation.ts'
import styles from './search.module.css'

/** A value as a bar can have it: its length says nothing below a thousandth, and screen readers cannot read 1e-8. */
export const barValue = (value: number): number => Number(Math.max(0, value).toFixed(3))

const percent = (share: number): string => `${Math.round(share * 100)} %`

/** Why a result stands where it does: what each leg of the search says of it. */
export function Legs({ explanation, bestWords }: { explanation: Explanation; bestWords: number }) {
  const { vector, text, identifier, reranker } = explanation
  return (
    <section className={styles['legs']} aria-label="Why it was found">
      <LegRow
        name="Meaning"
        leg={vector}
        absent="not among the nearest in meaning"
        score={vector?.score != null && { value: vector.score, max: 1, text: `cosine ${vector.score.toFixed(2)}` }}
      />
      <LegRow
        name="Words"
        leg={text}
        absent="none of the words decided"
        score={text?.score != null && { value: text.score, max: bestWords, text: `BM25 ${text.score.toFixed(2)}` }}
      >
        {text && text.terms.length > 0 && (
          <p className={styles['terms']}>
            <span className="visually-hidden">Matched terms: </span>
            {text.terms.map((term) => (
              <code key={term}>{term}</code>
            ))}
          </p>
        )}
      </LegRow>
      {identifier && (
        <LegRow name="Identifier" leg={identifier} absent="" score={false}>
          <p className={styles['terms']}>
            {identifier.matched.map((code) => (
              <code key={code}>{code}</code>
            ))}
            <Badge tone={identifier.isExact ? 'good' : 'warn'}>
              {identifier.isExact ? 'exact' : 'one character off'}
            </Badge>
          </p>
        </LegRow>
      )}
      {reranker && (
        <LegRow
          name="Reranker"
          leg={{ rank: null, score: reranker.score, contribution: null }}
          absent=""
          score={{ value: reranker.score, max: 1, text: `score ${reranker.score.toFixed(2)}` }}
        >
          {reranker.firstRank !== null && <p className={styles['where']}>It was number {reranker.firstRank} before.</p>}
        </LegRow>
      )}
    </section>
  )
}

function LegRow(props: {
  name: string
  leg: Leg | null
  absent: string
  score: { value: number; max: number; text: string } | false | undefined
  children?: ReactNode
}) {
  const { name, leg, absent, score, children } = props
  return (
    <div className={styles['leg']}>
      <p className={styles['leg-name']}>
        <strong>{name}</strong>
        {leg?.rank != null && <span>rank {leg.rank}</span>}
      </p>
      {leg === null ? (
        <p className={styles['where']}>{absent}</p>
      ) : (
        <div className={styles['bars']}>
          {score && <Bar label={`${name}, score`} value={barValue(score.value)} max={score.max} text={score.text} />}
          {leg.contribution !== null && (
            <Bar
              label={`${name}, share of the result’s score`}
              value={barValue(leg.contribution)}
              max={1}
              tone="warn"
              text={`${percent(leg.contribution)} of score`}
            />
          )}
          {children}
        </div>
      )}
    </div>
  )
}
