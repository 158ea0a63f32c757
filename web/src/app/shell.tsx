import { LogOut, MonitorCog, Moon, Sun } from 'lucide-react'
import { Suspense, useEffect, useRef } from 'react'
import { Link, Redirect, Route, Switch, useLocation } from 'wouter'
import { EmptyState, IconButton, Menu, ScreenBoundary, Waiting } from '../ui/index.ts'
import { supabase, useBackend } from './backend.ts'
import type { Membership } from './memberships.ts'
import { SCREENS } from './screens.ts'
import { chooseTheme, useThemeChoice } from './theme.ts'
import styles from './shell.module.css'

/** Navigation, tenant and person around the screens of one tenant. */
export function Shell(props: { memberships: Membership[]; onChoose: (tenantId: string) => void }) {
  const { tenant, can } = useBackend()
  const [location] = useLocation()
  const main = useRef<HTMLElement>(null)
  const screens = SCREENS.filter((screen) => can(screen.least))
  const open = screens.find((screen) => location === screen.path || location.startsWith(`${screen.path}/`))

  useEffect(() => {
    document.title = `${open?.title ?? 'Console'} · ${tenant.name} · Bulkhead`
  }, [open, tenant.name])

  return (
    <div className={styles['shell']}>
      <a
        className={styles['skip']}
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          main.current?.focus()
        }}
      >
        Skip to the content
      </a>
      <header className={styles['top']}>
        <span className={styles['brand']}>
          <img src="./icon.svg" alt="" width={24} height={24} />
          <span>Bulkhead</span>
        </span>
        <TenantSwitcher {...props} />
        <span className={styles['grow']} />
        <ThemeMenu />
        <PersonMenu />
      </header>
      <nav className={styles['nav']} aria-label="Screens">
        {screens.map(({ path, title, icon: Icon }) => (
          <Link
            key={path}
            href={path}
            className={styles['link']}
            aria-current={open?.path === path ? 'page' : undefined}
          >
            <Icon size={18} aria-hidden />
            <span>{title}</span>
          </Link>
        ))}
      </nav>
      <main className={styles['main']} id="main" ref={main} tabIndex={-1}>
        <ScreenBoundary key={open?.path}>
          <Suspense fallback={<Waiting what={`Loading ${open?.title ?? 'the screen'}`} />}>
            <Switch>
              {screens.map(({ path, component: Screen }) => (
                <Route key={path} path={path} nest>
                  <Screen />
                </Route>
              ))}
              <Route path="/">
                <Redirect to="/chat" replace />
              </Route>
              <Route>
                <EmptyState title="There is no such page" actions={<Link href="/documents">Go to the documents</Link>}>
                  The address may be old, or the page is not for your role.
                </EmptyState>
              </Route>
            </Switch>
          </Suspense>
        </ScreenBoundary>
      </main>
    </div>
  )
}

function TenantSwitcher({
  memberships,
  onChoose,
}: {
  memberships: Membership[]
  onChoose: (tenantId: string) => void
}) {
  const { tenant, role } = useBackend()
  if (memberships.length < 2) {
    return (
      <span className={styles['tenant']}>
        <strong>{tenant.name}</strong> <small>{role}</small>
      </span>
    )
  }
  return (
    <label className={styles['tenant']}>
      <span className="visually-hidden">Tenant of this tab</span>
      <select value={tenant.id} onChange={(event) => onChoose(event.currentTarget.value)}>
        {memberships.map((each) => (
          <option key={each.tenantId} value={each.tenantId}>
            {each.tenantName} ({each.role})
          </option>
        ))}
      </select>
    </label>
  )
}

function ThemeMenu() {
  const choice = useThemeChoice()
  const Icon = choice === 'light' ? Sun : choice === 'dark' ? Moon : MonitorCog
  return (
    <Menu
      trigger={<IconButton label={`Colours: ${choice}`} icon={<Icon size={18} />} />}
      items={[
        { label: 'Light', icon: <Sun size={16} />, onSelect: () => chooseTheme('light') },
        { label: 'Dark', icon: <Moon size={16} />, onSelect: () => chooseTheme('dark') },
        { label: 'As the device', icon: <MonitorCog size={16} />, onSelect: () => chooseTheme('system') },
      ]}
    />
  )
}

function PersonMenu() {
  const { user } = useBackend()
  return (
    <span className={styles['person']}>
      <span className={styles['email']} title={user.email}>
        {user.email}
      </span>
      <IconButton
        label="Sign out"
        icon={<LogOut size={18} />}
        onClick={() => void supabase.auth.signOut({ scope: 'local' })}
      />
    </span>
  )
}
