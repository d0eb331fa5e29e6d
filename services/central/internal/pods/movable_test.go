package pods

import (
	"testing"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func TestWhatADrainLeavesDoesNotHoldATermination(t *testing.T) {
	for name, c := range map[string]struct {
		pod  *fleetv1.Pod
		want bool
	}{
		"a pod":                         {&fleetv1.Pod{Phase: "Running"}, true},
		"one that ends":                 {&fleetv1.Pod{Phase: "Running", Terminating: true}, true},
		"of a DaemonSet":                {&fleetv1.Pod{Owner: &fleetv1.Owner{Kind: "DaemonSet"}}, false},
		"mirror":                        {&fleetv1.Pod{Mirror: true}, false},
		"finished":                      {&fleetv1.Pod{Phase: "Succeeded"}, false},
		"tolerates all":                 {&fleetv1.Pod{Tolerations: []*fleetv1.Toleration{{Operator: "Exists"}}}, false},
		"tolerates a cordon":            {&fleetv1.Pod{Tolerations: []*fleetv1.Toleration{{Key: unschedulableTaint, Operator: "Exists", Effect: "NoSchedule"}}}, false},
		"tolerates something else":      {&fleetv1.Pod{Tolerations: []*fleetv1.Toleration{{Key: "gpu", Operator: "Exists"}}}, true},
		"tolerates only what evicts it": {&fleetv1.Pod{Tolerations: []*fleetv1.Toleration{{Operator: "Exists", Effect: "NoExecute"}}}, true},
	} {
		if got := Movable(c.pod); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
