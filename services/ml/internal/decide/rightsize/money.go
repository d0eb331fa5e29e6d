package rightsize

import (
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
)

// gibPerVCPU have the same price: on demand in us-east-1, c5, m5 and r5.large differ only
// in memory, 4, 8 and 16 GiB at 0.085, 0.096 and 0.126 USD, which makes a vCPU about 9 to 13 GiB.
const gibPerVCPU = 9

// money is what requests cost, USD per hour.
type money struct {
	vcpu, gib float64
	origin    string // nodes, market or unknown
}

// moneyOf the cluster: the price of its nodes shared out by their vCPU and memory; without
// nodes that have prices, that of an m5.large of the region.
func moneyOf(state *fleetv1.ClusterState, prices *market.Snapshot) money {
	price, size := 0.0, 0.0
	for _, n := range state.GetNodes() {
		if p := priceOf(state.GetRegion(), n, prices); p > 0 {
			price += p
			size += n.GetCpuAllocatable() + n.GetMemoryAllocatableGb()/gibPerVCPU
		}
	}
	if price > 0 && size > 0 {
		return money{price / size, price / size / gibPerVCPU, "nodes"}
	}
	if p := prices.OnDemand(state.GetRegion(), "m5.large"); p > 0 {
		vcpu := p / (2 + 8.0/gibPerVCPU)
		return money{vcpu, vcpu / gibPerVCPU, "market"}
	}
	return money{origin: "unknown"}
}

// priceOf a node, USD per hour; 0: unknown.
func priceOf(region string, n *fleetv1.NodeMetric, prices *market.Snapshot) float64 {
	switch {
	case n.GetHourlyPrice() > 0:
		return n.GetHourlyPrice()
	case n.GetNodeType() == "spot":
		return prices.Spot(region, n.GetInstanceType(), n.GetAvailabilityZone())
	case n.GetOnDemandHourlyPrice() > 0:
		return n.GetOnDemandHourlyPrice()
	}
	return prices.OnDemand(region, n.GetInstanceType())
}
