import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'vite'
import { contentSecurityPolicy, headersFile } from './content-security-policy.ts'
import { LOCAL_MODE, originsFromSettings } from './settings.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** What the console may be made of; the local stack tells by them whether a build is still the present one. */
const SOURCES = ['web', 'client', 'node_modules'].map((folder) => path.join(ROOT, folder, path.sep))

/**
 * Makes the console's build fit for any static host: it is refused without the settings it needs, and carries its
 * Content-Security-Policy in index.html and in a file `_headers`. The local stack sends the policy itself, because its
 * port is not known here.
 */
export const consoleBuild = (): Plugin => {
  let origins: string[] | undefined
  return {
    name: 'bulkhead-console',
    apply: 'build',
    configResolved({ mode, env }) {
      origins = mode === LOCAL_MODE ? undefined : originsFromSettings(env)
    },
    transformIndexHtml: () =>
      origins && [
        {
          tag: 'meta',
          attrs: { 'http-equiv': 'Content-Security-Policy', content: contentSecurityPolicy(origins) },
          injectTo: 'head-prepend',
        },
      ],
    generateBundle() {
      const foreign = [...this.getModuleIds()].filter(
        (id) =>
          path.isAbsolute(id) && !id.includes('/node_modules/') && !SOURCES.some((folder) => id.startsWith(folder)),
      )
      if (foreign.length > 0) this.error(`The console is made of web/ and client/ only, not of ${foreign.join(', ')}.`)
      if (origins) this.emitFile({ type: 'asset', fileName: '_headers', source: headersFile(origins) })
    },
  }
}
