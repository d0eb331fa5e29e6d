import { Unbuilt } from '@/pages/Unbuilt'

export function Activity() {
  return <Unbuilt title="Activity" />
}
