type Packages = { dependencies?: Record<string, string>; devDependencies?: Record<string, string> }

/** `npm:hono@4.13.19` or, for subpaths, `npm:/hono@4.13.19/`. */
const PIN = /^npm:\/?((?:@[^/@]+\/)?[^/@]+)@(\d+\.\d+\.\d+)\/?$/

/**
 * What is wrong with the imports of a function's deno.json: not an exact npm pin, another version than package.json's,
 * or a key that does not name its package (with a slash at the end of both or of neither).
 */
export function problemsOfPins(
  file: string,
  config: { imports?: Record<string, string> },
  packages: Packages,
): string[] {
  const installed = { ...packages.devDependencies, ...packages.dependencies }
  return Object.entries(config.imports ?? {}).flatMap(([key, target]) => {
    const [, name, version] = PIN.exec(target) ?? []
    if (!name || !version) return [`${file}: "${key}" is not an exact npm pin: ${target}`]
    const expectedKey = target.endsWith('/') ? `${name}/` : name
    if (key !== expectedKey) return [`${file}: "${key}" stands for ${target}; its key must be "${expectedKey}"`]
    if (installed[name] !== version) {
      return [`${file}: ${name} is ${version}, in package.json ${installed[name] ?? 'missing'}`]
    }
    return []
  })
}
