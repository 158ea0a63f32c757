/**
 * What a browser lets the console load and reach. Scripts and styles come from files of its own only, so that neither
 * the text of a document nor the answer of a model can bring one along; requests go to the project and nowhere else.
 */

/** Everything but what only a header can say. @param connect origins that requests and sockets may go to */
export const contentSecurityPolicy = (connect: string[]): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "font-src 'self'",
    ["connect-src 'self'", ...new Set(connect)].join(' '),
    "worker-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')

/** The headers of every file of the console. @param connect as in `contentSecurityPolicy` */
export const securityHeaders = (connect: string[]): Record<string, string> => ({
  'content-security-policy': `${contentSecurityPolicy(connect)}; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
})

/**
 * The origins that requests to a project go to: its own, the same for sockets, and on the platform that of its S3
 * endpoint, where files are uploaded to.
 * @throws TypeError when `projectUrl` is not an http or https address
 */
export const originsOfProject = (projectUrl: string): string[] => {
  const { protocol, host, origin } = httpAddress(projectUrl)
  const hosted = /^([a-z0-9]+)\.supabase\.co$/.exec(host)
  return [
    origin,
    `${protocol === 'https:' ? 'wss' : 'ws'}://${host}`,
    ...(hosted ? [`https://${hosted[1]}.storage.supabase.co`] : []),
  ]
}

/** @throws TypeError when the text is not an http or https address */
export const httpAddress = (text: string): URL => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !['http:', 'https:'].includes(url.protocol)) throw new TypeError(`not an http or https address: ${text}`)
  return url
}

/** The file `_headers` in the format that Netlify, Cloudflare Pages and others read. */
export const headersFile = (connect: string[]): string =>
  [
    '/*',
    ...Object.entries(securityHeaders(connect)).map(([name, value]) => `  ${name}: ${value}`),
    '/assets/*',
    '  cache-control: public, max-age=31536000, immutable',
    '',
  ].join('\n')
