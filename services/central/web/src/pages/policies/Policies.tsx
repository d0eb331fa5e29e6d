import { Unbuilt } from '@/pages/Unbuilt'

export function Policies() {
  return <Unbuilt title="Policies" />
}
