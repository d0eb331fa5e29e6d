package main

import (
	"encoding/json"
	"os"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// families that people let a node pool buy from.
var families = []string{"General purpose", "Compute optimized", "Memory optimized"}

func usual(t catalogue.Type) bool {
	return t.Current && !t.Burstable && !t.BareMetal && t.GPUs == 0 && slices.Contains(families, t.Category)
}

// writeCatalogue of the types built in: current ones of the usual families, with
// what EKS leaves of them and the prices in three zones.
func writeCatalogue(o options) error {
	m, err := market.New()
	if err != nil {
		return err
	}
	prices := m.Snapshot()
	zones := prices.Zones(o.region)
	zones = zones[:min(3, len(zones))]
	byName := map[string]*instanceType{}
	var all []*instanceType
	for _, offer := range prices.Offers(o.region, zones) {
		t := offer.Type
		if !usual(t) || !slices.Contains(list(o.arch), t.Architecture) || o.maxVCPU > 0 && t.VCPU > o.maxVCPU || offer.OnDemand <= 0 {
			continue
		}
		kind := byName[t.Name]
		if kind == nil {
			left := t.Allocatable()
			kind = &instanceType{
				Name: t.Name, Arch: t.Architecture, CPUMilli: int64(t.VCPU) * 1000, MemBytes: t.MemoryMiB << 20, MaxPods: left.Pods,
				OverheadCPUMilli: int64(t.VCPU)*1000 - left.CPUMillicores, OverheadMemBytes: t.MemoryMiB<<20 - left.MemoryBytes,
				PriceOnDemand: offer.OnDemand, PriceSpot: map[string]float64{},
			}
			byName[t.Name] = kind
			all = append(all, kind)
		}
		kind.Zones = append(kind.Zones, offer.Zone)
		if offer.Spot > 0 {
			kind.PriceSpot[offer.Zone] = offer.Spot
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(o.catalogue, raw, 0o644)
}
