import {
  Activity,
  Bot,
  ChartColumn,
  Eye,
  FileText,
  MessagesSquare,
  ScrollText,
  Search,
  ShieldCheck,
  Users,
  type LucideIcon,
} from 'lucide-react'
import { lazy, type ComponentType } from 'react'
import type { Role } from './backend.ts'

export type Screen = {
  /** First part of the route: `#/documents`, and `#/documents/…` below it. */
  path: string
  title: string
  icon: LucideIcon
  /** Offered from this role up; Postgres decides what is shown. */
  least: Role
  component: ComponentType
}

const screen = (
  path: string,
  title: string,
  icon: LucideIcon,
  load: () => Promise<{ default: ComponentType }>,
  least: Role = 'viewer',
): Screen => ({ path, title, icon, least, component: lazy(load) })

/** Every screen, in the order of the navigation. Each is a file of its own that is loaded when it is first opened. */
export const SCREENS: readonly Screen[] = [
  screen('/chat', 'Chat', MessagesSquare, () => import('../screens/chat/chat.tsx')),
  screen('/documents', 'Documents', FileText, () => import('../screens/documents/documents.tsx')),
  screen('/search', 'Search', Search, () => import('../screens/search/search.tsx')),
  screen('/approvals', 'Approvals', ShieldCheck, () => import('../screens/approvals/approvals.tsx')),
  screen('/agents', 'Agents', Bot, () => import('../screens/agents/agents.tsx')),
  screen('/runs', 'Runs', Activity, () => import('../screens/runs/runs.tsx')),
  screen('/people', 'People', Users, () => import('../screens/people/people.tsx')),
  screen('/access', 'Access', Eye, () => import('../screens/access/access.tsx')),
  screen('/usage', 'Usage', ChartColumn, () => import('../screens/usage/usage.tsx')),
  screen('/audit', 'Audit', ScrollText, () => import('../screens/audit/audit.tsx'), 'admin'),
]
