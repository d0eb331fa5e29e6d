// Package workid names work, not messages: whoever learns of the same cause gives
// the work it causes the same id, so that it is done once.
package workid

import (
	"fmt"

	"github.com/google/uuid"
)

// interruptions is the name space of the ids of interruptions' tasks.
var interruptions = uuid.MustParse("9d0f3f0e-6a5e-4a43-9f4b-0f2a6c1f7e51")

// InterruptionDrain is the id of the drain_node task for the nth interruption,
// from 0, of an instance of a cluster. Central names it so when AWS warns it, and
// the agent when the instance's own metadata does and central is away.
func InterruptionDrain(cluster uuid.UUID, instanceID string, nth int) uuid.UUID {
	return uuid.NewSHA1(interruptions, fmt.Appendf(nil, "%s/%s/%d", cluster, instanceID, nth))
}
