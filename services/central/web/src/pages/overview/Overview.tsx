import { Unbuilt } from '@/pages/Unbuilt'

export function Overview() {
  return <Unbuilt title="Overview" />
}
