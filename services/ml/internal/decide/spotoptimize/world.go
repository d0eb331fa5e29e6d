package spotoptimize

import (
	"time"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/change"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/scene"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// The words of the rooms beside this one.
type (
	node   = scene.Node
	column = shop.Column
	plan   = change.Plan
)

const gib = scene.GiB

// world is the cluster, and what this engine asks of it.
type world struct{ *scene.World }

// settleFor is how long a node that CloudOptim bought is left alone.
const settleFor = 6 * time.Hour

func newWorld(state *fleetv1.ClusterState, prices *market.Snapshot, now time.Time) *world {
	return &world{scene.New(state, prices, now, scene.Rules{KeepSpot: true, Settle: settleFor})}
}

// columns of the market in the zones allowed, takeable or not.
func (w *world) columns(want wants, l limits) []*column { return shop.Columns(w.World, l.shop(want)) }
