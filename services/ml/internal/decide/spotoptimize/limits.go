package spotoptimize

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/types/known/structpb"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/question"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/shop"
)

// finer limits, beside those that only count nodes.
type finer struct {
	zoneShare   float64 // of the cluster's vCPU; 1: no limit
	cpuPrice    float64 // USD per hour of a spot vCPU; +Inf: no limit
	nodePrice   float64 // USD per hour of one new node; +Inf: no limit
	floorShare  float64 // of the cluster's vCPU
	restartCost float64 // USD for each pod that an interruption restarts
	minPools    int
	poolGiven   float64 // max_pool_share as it was given; poolShare is what min_pools leaves of it
	onDemand    []*mlv1.OnDemandPods
	history     []*mlv1.PoolHistory
	risk        shop.PoolRisk
}

// refine the limits by what the newer constraints say.
func (l *limits) refine(c *mlv1.SpotOptimizeConstraints) {
	l.finer = finer{
		zoneShare: question.Or(c.MaxZoneShare, 1), cpuPrice: question.Or(c.MaxSpotPricePerVcpu, math.Inf(1)), nodePrice: question.Or(c.MaxPricePerNode, math.Inf(1)),
		floorShare: question.Or(c.OnDemandFloorShare, 0), restartCost: question.Or(c.RestartCostUsd, RestartCost), onDemand: c.GetOnDemandPods(),
	}
	l.setPools(l.poolShare, int(c.GetMinPools()))
}

// setPools makes min_pools a share too: of n pools none may have more than an n-th.
func (l *limits) setPools(share float64, minPools int) {
	l.poolGiven, l.minPools, l.poolShare = share, minPools, share
	if minPools > 1 {
		l.poolShare = min(share, 1/float64(minPools))
	}
}

// poolLimit is the constraint behind the share that a pool may have.
func (l limits) poolLimit() string {
	if l.poolShare < l.poolGiven {
		return "min_pools"
	}
	return "max_pool_share"
}

// partial says whether some limit lets a part of the nodes go where it may not let all.
func (l limits) partial() bool {
	return l.maxSpot < 1 || l.floorCPU > 0 || l.maxNodes > 0 || l.zoneShare < 1 || l.floorShare > 0 || l.minPools > 1
}

// hasty drops what urgent capacity does not wait for.
func (l *limits) hasty() {
	l.maxSpot = 1 // nothing is bought as spot, so no share of it can bind
	l.zoneShare = 1
	l.setPools(l.poolGiven, 0)
}

// maxPrice of a launch, USD per hour.
func (l limits) maxPrice(onDemand float64, vcpu int, spot bool) float64 {
	price := onDemand
	if spot {
		price = min(onDemand*l.priceRatio, l.cpuPrice*float64(vcpu))
	}
	return min(price, l.nodePrice)
}

// checkRules refuses keys and texts inside on_demand_pods and pool_history that
// protojson lets pass: another spelling of a key, a number given as text.
func checkRules(name string, list *structpb.Value, numbers ...string) error {
	for i, one := range list.GetListValue().GetValues() {
		for key, value := range one.GetStructValue().GetFields() {
			at := fmt.Sprintf("%s[%d].%s", name, i, key)
			if hasUpper(key) {
				return fault.Invalid(at, "is not a known field")
			}
			_, text := value.GetKind().(*structpb.Value_StringValue)
			for _, number := range numbers {
				if text && key == number {
					return fault.Invalid(at, "must be a number")
				}
			}
		}
	}
	return nil
}

func hasUpper(s string) bool {
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			return true
		}
	}
	return false
}

// checkNested of both Structs.
func checkNested(req *mlv1.DecisionRequest) error {
	if err := checkRules("constraints.on_demand_pods", req.GetConstraints().GetFields()["on_demand_pods"], "min_priority"); err != nil {
		return err
	}
	return checkRules("requirements.pool_history", req.GetRequirements().GetFields()["pool_history"], "node_hours", "interruptions")
}
