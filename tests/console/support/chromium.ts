import { accessSync, constants, statSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { chromium, type Browser } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']

const isProgram = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** The Chromium to test with: what CHROMIUM_PATH names, Debian's, or one on PATH. */
export const findChromium = (env: NodeJS.ProcessEnv = process.env): string | undefined => {
  if (env['CHROMIUM_PATH']) return isProgram(env['CHROMIUM_PATH']) ? env['CHROMIUM_PATH'] : undefined
  const folders = (env['PATH'] ?? '').split(path.delimiter).filter((folder) => folder !== '')
  const candidates = ['/usr/bin/chromium', ...NAMES.flatMap((name) => folders.map((folder) => path.join(folder, name)))]
  return candidates.find(isProgram)
}

/** Starts it without a window. No name but localhost resolves in it, so that nothing it shows can reach the network. */
export const launchChromium = (executablePath: string): Promise<Browser> =>
  chromium.launch({
    executablePath,
    // Chromium refuses its sandbox to root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ['--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'],
  })
