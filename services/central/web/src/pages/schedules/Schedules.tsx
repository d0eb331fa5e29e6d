import { Unbuilt } from '@/pages/Unbuilt'

export function Schedules() {
  return <Unbuilt title="Schedules" />
}
