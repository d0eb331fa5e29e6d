package interruption

import (
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/pods"
)

// need is what a node must have that takes the place of another.
type need struct {
	// pods that have to move.
	pods int
	// cpu and memory of those, and of the node's own, which the other will have too.
	cpu, memory float64
}

func needOf(all []*fleetv1.Pod) need {
	var n need
	for _, pod := range all {
		if pod.GetPhase() == "Succeeded" || pod.GetPhase() == "Failed" {
			continue
		}
		if pods.Movable(pod) {
			n.pods++
		}
		n.cpu += float64(pod.GetRequests().GetCpuMillicores()) / 1000
		n.memory += float64(pod.GetRequests().GetMemoryBytes()) / (1 << 30)
	}
	return n
}
