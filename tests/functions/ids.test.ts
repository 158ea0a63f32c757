import { describe, expect, it } from 'vitest'
import { behindCursor, decodeCursor, encodeCursor, isSafeId, isUuid } from '../../supabase/functions/_shared/ids.ts'

const ID = '7a5d7d3e-3b3c-4d7e-9f46-1f0f1d6c0a01'

describe('ids', () => {
  it('are uuids or they are not', () => {
    expect(isUuid(ID)).toBe(true)
    expect(isUuid(ID.toUpperCase())).toBe(true)
    for (const bad of ['', 'x', `${ID} `, `${ID}\n`, ID.replaceAll('-', ''), `{${ID}}`, null, 7])
      expect(isUuid(bad)).toBe(false)
  })

  it('from clients are plain', () => {
    expect(isSafeId('req-1.a:b_c')).toBe(true)
    for (const bad of ['', '-a', 'a b', 'a\nb', 'ü', 'a'.repeat(129), '../x', undefined])
      expect(isSafeId(bad)).toBe(false)
  })
})

describe('cursors', () => {
  const cursor = { at: '2026-11-21T02:30:00.123456+00:00', id: ID }

  it('come back as they went', () => {
    expect(decodeCursor(encodeCursor(cursor))).toEqual(cursor)
    expect(encodeCursor(cursor)).toMatch(/^[A-Za-z0-9_-]+$/)
  })

  it.each([
    '',
    'x',
    '!!!!',
    'a'.repeat(500),
    btoa('[]'),
    btoa('{}'),
    btoa('[1,2]'),
    btoa(JSON.stringify(['2026-11-21', ID])),
    btoa(JSON.stringify(['2026-11-21T02:30:00Z","x.eq.1', ID])),
    btoa(JSON.stringify(['2026-11-21T02:30:00Z', `${ID}),id.gt.0`])),
    btoa(JSON.stringify(['2026-99-99T99:99:99Z', ID])),
    btoa(JSON.stringify([cursor.at, ID, 'more'])),
  ])('%j is refused', (text) => {
    expect(decodeCursor(text.replace(/=+$/, ''))).toBeNull()
  })

  it('become filters for both directions', () => {
    expect(behindCursor({ at: '2026-01-01T00:00:00Z', id: ID }, 'created_at', true)).toBe(
      `created_at.lt."2026-01-01T00:00:00Z",and(created_at.eq."2026-01-01T00:00:00Z",id.lt.${ID})`,
    )
    expect(behindCursor({ at: '2026-01-01T00:00:00Z', id: ID }, 'updated_at', false)).toContain('updated_at.gt.')
  })
})
