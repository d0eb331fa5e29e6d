import { Unbuilt } from '@/pages/Unbuilt'

export function Savings() {
  return <Unbuilt title="Savings" />
}
