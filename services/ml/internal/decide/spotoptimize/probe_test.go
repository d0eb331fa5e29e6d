package spotoptimize

import (
	"fmt"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	prices := testMarket(t)
	for _, c := range []struct{ n, p int }{{40, 300}, {200, 1500}, {1500, 8000}} {
		for seed := range uint64(1) {
			state := generate(t, prices, sizes{seed: seed, nodes: c.n, pods: c.p})
			start := time.Now()
			r, err := Decide(request(state, nil), prices, testNow)
			if err != nil {
				t.Fatal(err)
			}
			m := r.Metadata.AsMap()
			fmt.Printf("%d/%d(%d): %v before %.3f after %.3f nodes %v->%v conf %v\n", c.n, c.p, len(state.Pods), time.Since(start), m["cost_before_per_hour"], m["cost_after_per_hour"], m["nodes_before"], m["nodes_after"], r.ConfidenceScore)
			for _, rec := range r.Recommendations {
				fmt.Println("   ", rec.InstanceType, rec.AvailabilityZone, rec.NodeType, rec.NodeCount, rec.HourlyPrice, rec.RiskScore)
			}
			reasons := map[string]int{}
			for _, v := range r.NodeVerdicts {
				reasons[v.Reason]++
			}
			fmt.Println(reasons, r.RiskAssessment.AsMap())
		}
	}
}
