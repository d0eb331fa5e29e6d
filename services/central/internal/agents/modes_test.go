package agents

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/guard"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// mode sets that of all clusters of the customer.
func (h *house) mode(t *testing.T, mode string) {
	t.Helper()
	owner, err := h.CustomerOf(t.Context(), h.cluster)
	must(t, err)
	must(t, h.InTx(t.Context(), func(tx *store.Store) error {
		_, _, err := tx.SetPolicy(t.Context(), store.PolicyScope{Customer: owner}, &adminv1.PolicyValues{Mode: proto.String(mode)}, "", "me")
		return err
	}))
}

func TestAnAgentDoesNothingByItselfWhereItsClusterIsOnlyWatched(t *testing.T) {
	h, r := one(t)
	acts := func(set *agentv1.Settings, want bool) {
		t.Helper()
		policy := set.GetInterruption()
		if policy == nil || policy.GetCordon() != want || policy.GetDrain() != want || !policy.GetParameters().GetForce() {
			t.Fatalf("policy %v, want cordon and drain %v", policy, want)
		}
		equal(t, "heartbeats", set.GetHeartbeatSeconds(), 5)
	}
	l, welcome := r.session(t, h) // nothing was set, which is read_only
	acts(welcome.GetSettings(), false)
	for _, c := range []struct {
		mode string
		acts bool
	}{{guard.Recommend, true}, {guard.ReadOnly, false}} {
		h.mode(t, c.mode)
		var set *agentv1.Settings
		for until := time.Now().Add(3 * touchEvery); set == nil && time.Now().Before(until); {
			l.heartbeat(t)
			set = l.next(t).GetSettings()
		}
		acts(set, c.acts)
	}
	h.mode(t, guard.Approve)
	_, welcome = r.session(t, h)
	acts(welcome.GetSettings(), true)
}
