import { cx } from './cx'

/** Drawings on a 16-unit grid, 1.5 wide strokes. */
const drawings = {
  overview: 'M2.5 9.5h4v4h-4zM2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM9.5 9.5h4v4h-4z',
  clusters: 'M8 1.8l5.4 3.1v6.2L8 14.2l-5.4-3.1V4.9zM2.6 4.9L8 8l5.4-3.1M8 8v6.2',
  recommendations: 'M3 3.5h10M3 8h6M3 12.5h4M10.5 11.5l1.7 1.7 2.8-3.4',
  savings: 'M2 13.5h12M3.5 11l3-3.5 2.5 2 4.5-5.5M10.5 4h3v3',
  schedules: 'M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4zM8 4.5V8l2.4 1.6',
  spot: 'M9 1.8L3.2 9.2h4.3L7 14.2l5.8-7.4H8.5z',
  activity: 'M1.5 8.5h3l2-5.5 3 10 2-4.5h3',
  policies: 'M8 1.8l5 2v3.7c0 3-2 5.4-5 6.7-3-1.3-5-3.7-5-6.7V3.8zM5.8 8l1.6 1.6 2.9-3.1',
  models: 'M4 3.2h8M4 12.8h8M8 3.2v9.6M2.5 8h11',
  data: 'M8 6c3 0 5-.9 5-2s-2-2-5-2-5 .9-5 2 2 2 5 2zM3 4v8c0 1.1 2 2 5 2s5-.9 5-2V4M3 8c0 1.1 2 2 5 2s5-.9 5-2',
  audit: 'M4 1.8h5.5L13 5.3v8.9H4zM9.5 1.8v3.5H13M6.3 8.5h4.4M6.3 11h4.4',
  settings: 'M8 10.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4zM8 1.8v1.7M8 12.5v1.7M1.8 8h1.7M12.5 8h1.7M3.6 3.6l1.2 1.2M11.2 11.2l1.2 1.2M12.4 3.6l-1.2 1.2M4.8 11.2l-1.2 1.2',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.7L14 14',
  stop: 'M5.4 1.8h5.2l3.6 3.6v5.2l-3.6 3.6H5.4l-3.6-3.6V5.4zM5.8 5.8h4.4v4.4H5.8z',
  check: 'M3 8.5l3.2 3.2L13 4.8',
  close: 'M4 4l8 8M12 4l-8 8',
  plus: 'M8 3v10M3 8h10',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  clock: 'M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4zM8 4.8V8l2.2 1.4',
  warning: 'M8 2.2l6.2 11.3H1.8zM8 6.5v3.2M8 11.7v.1',
  error: 'M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4zM8 4.8v4M8 11v.1',
  info: 'M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4zM8 7.4v3.8M8 4.9V5',
  sun: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9',
  moon: 'M13.5 9.6A6 6 0 0 1 6.4 2.5a6 6 0 1 0 7.1 7.1z',
  screen: 'M2 3h12v8H2zM6 13.8h4M8 11v2.8',
  user: 'M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 14c.6-2.6 2.8-4 5.5-4s4.9 1.4 5.5 4',
  leave: 'M6 2.5H3v11h3M7 8h7M11.2 5.2L14 8l-2.8 2.8',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  left: 'M10 4L6 8l4 4',
  up: 'M4 10l4-4 4 4',
  sort: 'M5 6l3-3 3 3M5 10l3 3 3-3',
  arrow: 'M3 8h10M9.5 4.5L13 8l-3.5 3.5',
  play: 'M5 3l8 5-8 5z',
  pause: 'M5 3v10M11 3v10',
  refresh: 'M13.5 8a5.5 5.5 0 1 1-1.7-4M13.5 2v3h-3',
  table: 'M2 3h12v10H2zM2 6.5h12M6.5 6.5V13',
  chart: 'M2.5 13.5h11M4.5 11V8M8 11V4M11.5 11V6',
  download: 'M8 2.5v7.5M4.8 7L8 10.2 11.2 7M3 13.5h10',
  upload: 'M8 10.5V3M4.8 6L8 2.8 11.2 6M3 13.5h10',
  key: 'M5.5 13.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM7.7 8.4L13.5 2.5M11 5l2 2',
  menu: 'M2.5 4h11M2.5 8h11M2.5 12h11',
  external: 'M9 2.5h4.5V7M13.5 2.5L7.5 8.5M11.5 9.5v4h-9v-9h4',
  snooze: 'M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4zM6 5.8h4l-4 4.4h4',
  node: 'M2.5 3h11v4h-11zM2.5 9h11v4h-11zM4.8 5h.1M4.8 11h.1',
  trash: 'M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9',
  edit: 'M3 13l.6-2.8L10.8 3l2.2 2.2-7.2 7.2z',
} as const

export type IconName = keyof typeof drawings

/** A drawing beside words; what stands alone needs a label of its own. */
export function Icon({ name, className, size = 16 }: { name: IconName; className?: string; size?: number }) {
  return (
    <svg viewBox="0 0 16 16" width={size} height={size} fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" className={cx('shrink-0', className)}>
      <path d={drawings[name]} />
    </svg>
  )
}

/** The mark: blocks packed tight, and the place that became free. */
export function Mark({ size = 26, className }: { size?: number; className?: string }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden="true" className={cx('shrink-0', className)}>
      <g fill="currentColor">
        <rect x="4" y="4" width="11" height="14" rx="2.5" />
        <rect x="4" y="20.5" width="11" height="7.5" rx="2.5" opacity=".5" />
        <rect x="17.5" y="4" width="10.5" height="7" rx="2.5" opacity=".5" />
      </g>
      <rect x="18.4" y="14.4" width="8.7" height="12.7" rx="2.2" fill="none" stroke="currentColor" strokeWidth="1.8" strokeDasharray="2.7 2.2" />
    </svg>
  )
}
