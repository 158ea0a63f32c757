import { fileURLToPath } from 'node:url'

/** A small project for tests of the local stack itself, with two users and their notes. */
export const FIXTURE_PROJECT = fileURLToPath(new URL('../fixtures/stack-project', import.meta.url))
export const FIXTURE_PASSWORD = 'fixture-password'
export const ALICE = { id: 'aaaaaaaa-0000-4000-8000-000000000001', email: 'alice@fixture.example' }
export const BOB = { id: 'bbbbbbbb-0000-4000-8000-000000000002', email: 'bob@fixture.example' }
