import { useState, type FormEvent } from 'react'
import { supabase } from '../../app/backend.ts'
import { IS_LOCAL } from '../../env.ts'
import { Button, Card, ErrorNotice, Stack, TextField } from '../../ui/index.ts'
import styles from './sign-in.module.css'

/** Who `supabase/seed.sql` makes; offered on the local stack only. */
const SEEDED = IS_LOCAL
  ? {
      password: 'bulkhead-demo',
      people: [
        ['owner@harbor.example', 'owner of Harbor Logistics'],
        ['admin@harbor.example', 'admin of Harbor Logistics'],
        ['member@harbor.example', 'member of Harbor Logistics'],
        ['viewer@harbor.example', 'viewer of Harbor Logistics'],
        ['owner@meridian.example', 'owner of Meridian Health'],
        ['member@meridian.example', 'member of Meridian Health'],
        ['both@bulkhead.example', 'member of both'],
        ['outsider@bulkhead.example', 'member of none'],
      ] as const,
    }
  : null

/** Signing in by e-mail and password. */
export function SignIn() {
  const [error, setError] = useState<unknown>(null)
  const [isBusy, setIsBusy] = useState(false)

  const signIn = async (email: string, password: string) => {
    setIsBusy(true)
    setError(null)
    const answer = await supabase.auth.signInWithPassword({ email, password })
    setIsBusy(false)
    if (answer.error) setError(answer.error)
  }

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    void signIn(String(form.get('email')), String(form.get('password')))
  }

  return (
    <main className={styles['page']}>
      <div className={styles['column']}>
        <header className={styles['head']}>
          <img src="./icon.svg" alt="" width={40} height={40} />
          <h1>Bulkhead</h1>
          <p>Documents in, cited answers out, every tenant sealed off.</p>
        </header>
        <Card title="Sign in">
          <form onSubmit={submit}>
            <Stack gap={3}>
              <TextField label="E-mail address" name="email" type="email" autoComplete="username" required />
              <TextField label="Password" name="password" type="password" autoComplete="current-password" required />
              {error !== null && <ErrorNotice error={error} title="You are not signed in" />}
              <Button kind="primary" type="submit" busy={isBusy && 'Signing in…'}>
                Sign in
              </Button>
            </Stack>
          </form>
        </Card>
        {SEEDED && (
          <Card title="Seeded people of this local stack">
            <ul className={styles['people']}>
              {SEEDED.people.map(([email, what]) => (
                <li key={email}>
                  <Button disabled={isBusy} onClick={() => void signIn(email, SEEDED.password)}>
                    <span className={styles['who']}>
                      <span>{email}</span>
                      <small>{what}</small>
                    </span>
                  </Button>
                </li>
              ))}
            </ul>
          </Card>
        )}
      </div>
    </main>
  )
}
