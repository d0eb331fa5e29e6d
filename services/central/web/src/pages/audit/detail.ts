export interface DetailRow {
  /** Path of the value, e.g. values.mode. */
  path: string
  before?: string
  after?: string
  /** What the value is, where there is no before. */
  value?: string
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

const pairs: [before: string, after: string][] = [
  ['before', 'after'],
  ['old', 'new'],
  ['from', 'to'],
]

/** A detail as rows to read: what changed with before and after, the rest as it is. */
export function rowsOf(detail: Record<string, unknown> | null | undefined): DetailRow[] {
  if (!detail) return []
  const pair = pairs.find(([before, after]) => before in detail && after in detail && (isObject(detail[before]) || isObject(detail[after])))
  const rest = Object.entries(detail).filter(([name]) => !pair?.includes(name))
  const values = flat(Object.fromEntries(rest)).map(([path, value]): DetailRow => ({ path, value }))
  if (!pair) return values
  return [...changes(detail[pair[0]], detail[pair[1]]), ...values]
}

function changes(before: unknown, after: unknown): DetailRow[] {
  const [old, now] = [new Map(flat(before)), new Map(flat(after))]
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((path) => old.get(path) !== now.get(path))
    .map((path) => ({ path, before: old.get(path) ?? '–', after: now.get(path) ?? '–' }))
}

function flat(value: unknown, path = ''): [path: string, text: string][] {
  if (isObject(value)) return Object.entries(value).flatMap(([name, each]) => flat(each, path ? `${path}.${name}` : name))
  if (value === null || value === undefined) return path ? [[path, '–']] : []
  if (Array.isArray(value)) {
    if (value.some(isObject)) return value.flatMap((each, index) => flat(each, `${path}[${index}]`))
    return [[path, value.length === 0 ? 'none' : value.map(String).join(', ')]]
  }
  return [[path || 'value', value === '' ? '–' : String(value)]]
}
