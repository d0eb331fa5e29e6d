const formats = new Map<string, Intl.NumberFormat>()

function format(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = JSON.stringify(options)
  let made = formats.get(key)
  if (!made) formats.set(key, (made = new Intl.NumberFormat('en-US', options)))
  return made
}

/** Hours that a month has, as AWS and central count. */
export const hoursPerMonth = 730

/** USD with as many digits as its size needs: $0.0416, $0.139, $3.84, $1,204. */
export function money(usd: number | null | undefined): string {
  if (usd === null || usd === undefined || !Number.isFinite(usd)) return '–'
  const size = Math.abs(usd)
  const most = size < 1 ? 4 : size < 1000 ? 2 : 0
  const text = format({ style: 'currency', currency: 'USD', minimumFractionDigits: Math.min(2, most), maximumFractionDigits: most }).format(size)
  return usd < 0 && Number(size.toFixed(most)) !== 0 ? `−${text}` : text
}

/** USD that were paid or saved, in whole cents: $0.37, $1,204; less than half a cent: <$0.01. */
export function amount(usd: number | null | undefined): string {
  if (usd === null || usd === undefined || !Number.isFinite(usd)) return '–'
  const size = Math.abs(usd)
  if (size > 0 && size < 0.005) return `${usd < 0 ? '−' : ''}<$0.01`
  return money(size < 1 ? Math.round(usd * 100) / 100 : usd)
}

/** USD a month, cents only where they matter: $4.20/mo, $812/mo. */
export function perMonth(usd: number | null | undefined): string {
  if (usd === null || usd === undefined || !Number.isFinite(usd)) return '–'
  return `${money(Math.abs(usd) >= 20 ? Math.round(usd) : usd).replace(/\.00$/, '')}/mo`
}

/** USD in short, for axes: $1.2K. */
export function shortMoney(usd: number): string {
  const text = format({ style: 'currency', currency: 'USD', notation: 'compact', maximumFractionDigits: Math.abs(usd) < 10 ? 2 : 1 }).format(Math.abs(usd))
  return usd < 0 ? `−${text}` : text
}

/** A difference in USD with its sign. */
export function moneyChange(usd: number): string {
  return usd > 0 ? `+${money(usd)}` : money(usd)
}

/** 0 to 1 as a percentage: 0.4 %, 12.5 %, 61 %. */
export function percent(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return '–'
  const size = Math.abs(ratio * 100)
  const digits = size === 0 || size >= 20 ? 0 : 1
  const text = `${format({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(size)}%`
  return ratio < 0 && Number(size.toFixed(digits)) !== 0 ? `−${text}` : text
}

/** A count with thousands separated. */
export function count(n: number | null | undefined): string {
  return n === null || n === undefined || !Number.isFinite(n) ? '–' : format({ maximumFractionDigits: 0 }).format(n)
}

/** A number with at most so many digits behind the point. */
export function decimal(n: number | null | undefined, digits = 1): string {
  return n === null || n === undefined || !Number.isFinite(n) ? '–' : format({ maximumFractionDigits: digits }).format(n)
}

/** 1 node, 4 nodes. */
export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`
}

/** Bytes in binary units. */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024
    unit++
  }
  return `${decimal(n, unit === 0 ? 0 : 1)} ${units[unit]}`
}
