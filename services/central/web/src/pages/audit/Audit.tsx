import { Unbuilt } from '@/pages/Unbuilt'

export function Audit() {
  return <Unbuilt title="Audit" />
}
