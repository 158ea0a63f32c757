/** What is to be read at `/` when there is no console to show. Neither styles nor scripts: the policy allows none. */
const page = (title: string, body: string, refreshSeconds: number | undefined): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${refreshSeconds === undefined ? '' : `<meta http-equiv="refresh" content="${refreshSeconds}">`}
<title>${title}</title>
</head>
<body>
<h1>${title}</h1>
${body}
</body>
</html>
`

const answer = (html: string, status: number, headers: Record<string, string>): Response =>
  new Response(html, {
    status,
    headers: { ...headers, 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' },
  })

const escape = (text: string): string => text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)

/** While the first build runs: asks again by itself until the console is there. */
export const answerBuilding = (security: Record<string, string>): Response => {
  const body = `<p>It takes a few seconds, once after each change of its files. This page shows it as soon as it is there.</p>`
  return answer(page('The console is being built', body, 1), 503, { ...security, 'retry-after': '1' })
}

/** @param watching a change of the files makes another build, so asking again makes sense */
export const answerFailed = (problem: string, watching: boolean, security: Record<string, string>): Response => {
  const next = watching
    ? 'It is built again when one of its files changes; this page then shows it.'
    : 'Mend it and start the stack again, or try <code>node web/build/main.ts --local --out /tmp/console</code>.'
  const body = `<p>Everything else of the stack runs. The same lines are in the terminal, behind <code>[console]</code>.</p>
<pre>${escape(problem)}</pre>
<p>${next}</p>`
  return answer(page('The console could not be built', body, watching ? 2 : undefined), 500, security)
}
